"""Protocols T and S, exactly, and the figures they must reach on real data."""

from pathlib import Path

import numpy as np
import pytest

from recsys.datasets.ratings import NO_TIMESTAMP, Catalogue, Dataset
from recsys.datasets.reading import read_dataset
from recsys.datasets.split import split_strong, split_temporal
from recsys.errors import DataError
from recsys.models.recommend import Recommender
from recsys.training.evaluation import (
    Question,
    evaluate_strong,
    evaluate_temporal,
    measure_temporal,
    temporal_questions,
)
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters


def _dataset(rows: list[tuple[int, int, float, int]]) -> Dataset:
    users, items, values, times = (np.array(column) for column in zip(*rows, strict=True))
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    return Dataset(
        tuple(f"u{i}" for i in range(n_users)),
        Catalogue.bare([f"i{i}" for i in range(n_items)]),
        users.astype(np.int32),
        items.astype(np.int32),
        values.astype(np.float32),
        times.astype(np.int64),
    )


def test_the_last_fifth_by_time_is_the_test_and_ties_go_by_file_order() -> None:
    data = _dataset([(0, item, 4, 100 if item < 8 else 50) for item in range(10)] + [(1, 0, 5, 1)])
    split = split_temporal(data)
    assert data.items[split.test].tolist() == [6, 7, 0]
    assert data.items[split.train].tolist() == [8, 9, 0, 1, 2, 3, 4, 5]


def test_the_test_is_at_least_one_and_otherwise_rounded_down() -> None:
    data = _dataset([(0, item, 4, item) for item in range(4)] + [(1, item, 4, item) for item in range(14)])
    split = split_temporal(data)
    assert np.bincount(data.users[split.test]).tolist() == [1, 2]


def test_only_users_with_a_relevant_item_are_asked_about() -> None:
    data = _dataset([(0, item, 5, item) for item in range(5)] + [(1, item, 3, item) for item in range(5)])
    train, questions = temporal_questions(data)
    assert len(questions) == 1
    assert questions[0].relevant.tolist() == [4]
    assert train.n_ratings == 8


def test_held_out_users_are_not_trained_on_and_their_targets_not_asked_with(sample: Path) -> None:
    data = read_dataset(sample)
    split = split_strong(data, seed=3)
    trained = set(data.users[split.train].tolist())
    assert len(trained) + len(split.validation) + len(split.test) <= data.n_users
    assert np.all(data.stars[split.train] >= 4)
    trained_items = set(data.items[split.train].tolist())
    for user in split.test:
        assert not set(user.asked_with) & set(user.targets)
        assert set(user.targets) <= trained_items
        assert user.targets.size == max(1, int(0.2 * (user.targets.size + user.asked_with.size)))


def test_too_little_data_is_a_clear_error() -> None:
    data = _dataset([(user, item, 2 + item % 2, item) for user in range(3) for item in range(4)])
    with pytest.raises(DataError, match="liked"):
        evaluate_temporal(data, Hyperparameters())
    with pytest.raises(DataError, match="five liked"):
        evaluate_strong(data, Hyperparameters())


def test_recency_is_left_out_without_times(sample: Path) -> None:
    data = read_dataset(sample)
    timeless = Dataset(
        data.user_ids, data.catalogue, data.users, data.items, data.values, np.full(data.n_ratings, NO_TIMESTAMP)
    )
    assert fit(timeless, Hyperparameters()).recommender.weighting.half_life is None


@pytest.mark.real_data
def test_protocol_t_on_ml_100k_reaches_the_figures(ml_100k: Path) -> None:
    evaluation = evaluate_temporal(read_dataset(ml_100k), Hyperparameters())
    model, popularity = evaluation.models["edlae"], evaluation.models["popularity"]
    assert evaluation.n_questions == 906
    assert 0.215 <= model["ndcg@10"].value <= 0.235
    assert 0.198 <= model["recall@10"].value <= 0.220
    assert 0.66 <= model["hitrate@10"].value <= 0.72
    assert popularity["ndcg@10"].value == pytest.approx(0.101, abs=0.002)
    assert popularity["recall@10"].value == pytest.approx(0.076, abs=0.002)
    assert popularity["hitrate@10"].value == pytest.approx(0.416, abs=0.002)
    assert evaluation.difference["ndcg@10"].low > 0.1


@pytest.mark.real_data
def test_protocol_s_on_ml_100k_reaches_the_figures(ml_100k: Path) -> None:
    evaluation = evaluate_strong(read_dataset(ml_100k), Hyperparameters(), seeds=5)
    assert 0.185 <= evaluation.difference["ndcg@100"].value <= 0.22
    assert evaluation.models["popularity"]["ndcg@100"].value == pytest.approx(0.261, abs=0.02)


@pytest.mark.real_data
def test_a_sparser_catalogue_with_half_stars_is_beaten_clearly_too(ml_latest_small: Path) -> None:
    evaluation = evaluate_temporal(read_dataset(ml_latest_small), Hyperparameters())
    assert evaluation.models["edlae"]["ndcg@10"].value >= 1.7 * evaluation.models["popularity"]["ndcg@10"].value


@pytest.mark.real_data
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8])
def test_short_histories_beat_popularity(ml_100k: Path, k: int) -> None:
    """The line between blended and personalised is drawn where neither side loses to popularity."""
    train, questions = temporal_questions(read_dataset(ml_100k))
    recommender = fit(train, Hyperparameters()).recommender
    cut = [
        Question(type(q.history)(q.history.items[-k:], q.history.stars[-k:], q.history.ordered), q.relevant)
        for q in questions
    ]
    model = measure_temporal(recommender, cut).values["ndcg@10"].mean()
    popularity = measure_temporal(Recommender(recommender.popularity, None), cut).values["ndcg@10"].mean()
    assert model > 1.1 * popularity
