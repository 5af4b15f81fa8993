"""The lists made at training: what the model answers, for whom, and how long they are."""

from dataclasses import replace

import numpy as np
import pytest

from recsys.artifacts.contents import Contents
from recsys.datasets.ratings import Catalogue, Dataset
from recsys.datasets.reading import read_dataset
from recsys.models.recommend import PERSONALIZED_FROM
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.pipeline import arrange, assemble
from recsys.training.top_lists import LENGTH, make_top_lists


def fitted(dataset: Dataset) -> Contents:
    arranged = arrange(dataset)
    return assemble(arranged, fit(arranged, Hyperparameters()))


def rated(n_rated: tuple[int, ...], n_items: int, last_times: tuple[int, ...] | None = None) -> Contents:
    """Users who rated so many of the items each, the last of them at these times."""
    users = np.repeat(np.arange(len(n_rated), dtype=np.int32), n_rated)
    items = np.concatenate([(7 * user + np.arange(n)) % n_items for user, n in enumerate(n_rated)]).astype(np.int32)
    times = np.repeat(np.array(last_times or [0] * len(n_rated), np.int64), n_rated)
    ids = tuple(f"user-{user}" for user in range(len(n_rated)))
    values = (1 + items % 5).astype(np.float32)
    return fitted(Dataset(ids, Catalogue.bare([f"i{item}" for item in range(n_items)]), users, items, values, times))


@pytest.fixture(scope="module")
def contents(sample: object) -> Contents:
    return fitted(read_dataset(sample))


def test_are_what_the_model_answers(contents: Contents) -> None:
    lists = make_top_lists(contents)
    assert lists is not None
    recommender, weights = contents.recommender, contents.history_weights(pause=lambda: None)

    for row, user in enumerate(lists.users.tolist()):
        history = contents.history(user, weights)
        scores = recommender.scores(history)
        wanted = recommender.select(scores, LENGTH, excluded=history.items)
        np.testing.assert_array_equal(wanted, lists.items[row])
        np.testing.assert_array_equal(scores.values[wanted], lists.scores[row])
    assert lists.users.size == np.count_nonzero(np.diff(contents.history_indptr) >= PERSONALIZED_FROM) > 500


def test_are_the_same_every_time(contents: Contents) -> None:
    first, second = make_top_lists(contents), make_top_lists(contents)

    for name in ("users", "items", "scores"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_are_for_those_whose_history_says_enough() -> None:
    lists = make_top_lists(rated((PERSONALIZED_FROM - 1, PERSONALIZED_FROM, 1, 20, *[12] * 40), n_items=60))
    assert lists is not None

    assert lists.users.tolist() == [1, 3, *range(4, 44)]


def test_end_where_nothing_is_left_to_recommend() -> None:
    contents = rated((10, 25, 30, *[15] * 40), n_items=30)
    lists = make_top_lists(contents)
    assert lists is not None

    assert lists.users[:3].tolist() == [0, 1, 2]
    assert np.count_nonzero(lists.items[0] >= 0) == 20
    assert np.count_nonzero(lists.items[1] >= 0) == 5
    assert lists.items[1, 5:].tolist() == [-1] * 15
    assert lists.scores[1, 5:].tolist() == [0.0] * 15
    assert np.all(lists.items[2] == -1)


def test_beyond_their_number_are_for_those_who_rated_last() -> None:
    last_times = tuple(100 * (user % 10) for user in range(40))
    lists = make_top_lists(rated((12,) * 40, n_items=60, last_times=last_times), max_lists=8)
    assert lists is not None

    assert lists.users.tolist() == [8, 9, 18, 19, 28, 29, 38, 39]


def test_of_a_popularity_model_are_none(contents: Contents) -> None:
    plain = replace(contents, item_item=None, row_norms=None, column_norms=None)

    assert make_top_lists(plain) is None


def test_are_none_but_sound_without_users(contents: Contents) -> None:
    none = np.empty(0, np.int32)
    lists = make_top_lists(
        replace(
            contents,
            user_ids=(),
            history_indptr=np.zeros(1, np.int64),
            history_items=none,
            history_values=none.astype(np.float32),
            history_timestamps=none.astype(np.int64),
        )
    )
    assert lists is not None

    assert lists.items.shape == lists.scores.shape == (0, LENGTH)


def test_say_how_far_they_are(contents: Contents) -> None:
    shares: list[float] = []
    make_top_lists(contents, progress=shares.append)

    assert shares == sorted(shares)
    assert 0 <= shares[0] < shares[-1] < 1
