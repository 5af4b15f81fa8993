"""The one ranking: strategies, what is seen, and the exact because."""

import numpy as np
import pytest

from recsys.models.item_item import DenseItemItem
from recsys.models.recommend import PERSONALIZED_FROM, POPULARITY_WEIGHT, History, Recommender

_N = 40


@pytest.fixture
def recommender() -> Recommender:
    rng = np.random.default_rng(5)
    B = rng.normal(size=(30, 30)).astype(np.float32)
    np.fill_diagonal(B, 0)
    return Recommender(rng.random(_N).astype(np.float32), DenseItemItem(B))


def _history(n: int) -> History:
    return History(np.arange(n, dtype=np.int32), np.full(n, 4, np.float32))


@pytest.mark.parametrize(
    ("n_known", "strategy"), [(0, "popular"), (1, "blended"), (4, "blended"), (5, "personalized"), (20, "personalized")]
)
def test_strategy_follows_from_the_number_of_known_items(recommender: Recommender, n_known: int, strategy: str) -> None:
    assert strategy == recommender.scores(_history(n_known)).strategy


def test_items_beyond_the_model_are_not_known_items(recommender: Recommender) -> None:
    beyond = History(np.array([30, 35], np.int32), np.array([5, 5], np.float32))
    scores = recommender.scores(beyond)
    assert scores.strategy == "popular"
    np.testing.assert_array_equal(scores.values, recommender.popularity)


def test_without_a_linear_model_popularity_answers() -> None:
    popularity = np.array([0.1, 0.9, 0.5], np.float32)
    recommender = Recommender(popularity, None)
    assert recommender.recommend(_history(1), 3).tolist() == [1, 2]


def test_the_history_is_not_recommended(recommender: Recommender) -> None:
    answer = recommender.recommend(_history(20), 100)
    assert set(answer.tolist()) == set(range(20, 30))


@pytest.mark.parametrize("n_known", [1, 4, 5, 25])
def test_because_sums_to_the_personalised_part_of_every_score(recommender: Recommender, n_known: int) -> None:
    scores = recommender.scores(_history(n_known))
    targets = recommender.select(scores, 30)
    for target, terms in zip(targets, recommender.because(scores, targets), strict=True):
        blend = POPULARITY_WEIGHT * recommender.popularity[target] if n_known < PERSONALIZED_FROM else 0
        assert sum(term for _, term in terms) == pytest.approx(scores.values[target] - blend, abs=1e-5)
        assert [term for _, term in terms] == sorted((term for _, term in terms), reverse=True)


def test_filters_and_exclusions_only_take_items_out(recommender: Recommender) -> None:
    scores = recommender.scores(_history(10))
    everything = recommender.select(scores, _N).tolist()
    allowed = np.zeros(_N, bool)
    allowed[::2] = True
    excluded = np.array([0, 2, 4], np.int32)
    expected = [item for item in everything if item % 2 == 0 and item not in (0, 2, 4)]
    assert expected == recommender.select(scores, _N, excluded=excluded, allowed=allowed).tolist()
    assert everything == recommender.select(scores, _N).tolist(), "the scores were written to"
