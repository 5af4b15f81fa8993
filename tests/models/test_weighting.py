"""Grade × recency."""

from itertools import pairwise

import numpy as np
import pytest

from recsys.models import weighting as module
from recsys.models.weighting import Weighting


def test_grades_are_those_measured() -> None:
    weights = Weighting(half_life=None).weights(np.array([1, 2, 3, 4, 5], np.float32))
    assert weights.tolist() == pytest.approx([0.1, 0.3, 0.6, 1.0, 1.2])


def test_half_stars_lie_between_their_neighbours() -> None:
    weights = Weighting(half_life=None).weights(np.array([3.0, 3.5, 4.0], np.float32))
    assert weights[0] < weights[1] < weights[2]


def test_a_rating_counts_half_after_a_quarter_of_a_long_history() -> None:
    weights = Weighting(graded=False).weights(np.full(80, 4, np.float32))
    assert weights[-1] == 1.0
    assert weights[-1 - 20] == pytest.approx(0.5)


def test_a_short_history_is_not_forgotten_faster_than_the_least_half_life() -> None:
    weights = Weighting(graded=False).weights(np.full(6, 4, np.float32))
    assert weights[0] == pytest.approx(0.5)


def test_order_means_nothing_without_times() -> None:
    weights = Weighting(graded=False).weights(np.full(80, 4, np.float32), ordered=False)
    assert np.all(weights == 1.0)


def test_an_empty_history_has_no_weights() -> None:
    assert Weighting().weights(np.empty(0, np.float32)).size == 0


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("weighting", [Weighting(), Weighting(graded=False), Weighting(half_life=None)])
def test_many_histories_are_weighed_as_each_would_be(
    monkeypatch: pytest.MonkeyPatch, weighting: Weighting, ordered: bool
) -> None:
    monkeypatch.setattr(module, "_RATINGS_AT_ONCE", 40)
    random = np.random.default_rng(3)
    lengths = [0, 1, 2, 30, 7, 100, 0, 39, 5, 0]  # one is longer than what is done at once
    indptr = np.cumsum([0, *lengths])
    stars = random.choice(np.arange(0.5, 5.5, 0.5), indptr[-1]).astype(np.float32)
    pauses: list[None] = []

    found = weighting.of_histories(stars, indptr, ordered=ordered, pause=lambda: pauses.append(None))

    each = [weighting.weights(stars[start:end], ordered=ordered) for start, end in pairwise(indptr)]
    assert found.dtype == np.float32
    assert found == pytest.approx(np.concatenate(each), rel=1e-6)
    assert len(pauses) >= 4


def test_no_histories_have_no_weights() -> None:
    found = Weighting().of_histories(np.empty(0, np.float32), np.zeros(1, np.int64), ordered=True, pause=lambda: None)

    assert found.size == 0
