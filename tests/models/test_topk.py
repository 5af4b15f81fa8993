"""The one selection: order, ties, and what is not allowed."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recsys.models.topk import rank, top_k

_scores = arrays(np.float32, st.integers(0, 60), elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.25, 0.5, 3.0]))


@given(_scores, st.integers(-1, 70))
def test_agrees_with_a_full_stable_sort(scores: np.ndarray, k: int) -> None:
    order = [int(i) for i in np.argsort(-scores, kind="stable") if np.isfinite(scores[i])]
    assert order[: max(k, 0)] == top_k(scores, k).tolist()


@given(_scores, st.integers(0, 30), st.integers(0, 30))
def test_a_shorter_list_begins_the_longer_one(scores: np.ndarray, k: int, more: int) -> None:
    assert top_k(scores, k + more).tolist()[:k] == top_k(scores, k).tolist()


@given(_scores)
def test_a_rank_is_the_longest_top_k(scores: np.ndarray) -> None:
    np.testing.assert_array_equal(top_k(scores, scores.size), rank(scores))
