"""Dense and thresholded storage answer alike."""

import numpy as np
import pytest

from recsys.models.item_item import DenseItemItem, SparseItemItem, store_item_item


def _matrix(n: int = 400, seed: int = 0) -> np.ndarray:
    B = np.random.default_rng(seed).normal(size=(n, n)).astype(np.float32) ** 3
    np.fill_diagonal(B, 0)
    return B


def test_what_fits_stays_dense() -> None:
    assert isinstance(store_item_item(_matrix(), max_dense_bytes=400 * 400 * 4), DenseItemItem)


def test_what_does_not_fit_keeps_the_stated_mean_per_row() -> None:
    stored = store_item_item(_matrix(), max_dense_bytes=1, mean_kept=50)
    assert isinstance(stored, SparseItemItem)
    assert stored.values.size / 400 == pytest.approx(50, rel=0.02)


def test_the_largest_entries_stay_whatever_their_sign() -> None:
    B = _matrix()
    stored = store_item_item(B, max_dense_bytes=1, mean_kept=50)
    assert isinstance(stored, SparseItemItem)
    kept = np.array([stored.row(i) for i in range(400)])
    assert np.abs(kept[kept != 0]).min() >= np.abs(B[kept == 0]).max()
    assert (kept < 0).any()


def test_both_storages_give_the_same_scores_rows_and_contributions() -> None:
    B = _matrix()
    sparse = store_item_item(B, max_dense_bytes=1, mean_kept=50)
    dense = DenseItemItem(np.array([sparse.row(i) for i in range(400)]))
    items, weights = np.array([3, 399, 17], np.int32), np.array([1, 0.5, 0.1], np.float32)
    targets = np.array([5, 0, 399], np.int32)
    np.testing.assert_allclose(sparse.scores(items, weights), dense.scores(items, weights), rtol=1e-5, atol=1e-6)
    terms = dense.contributions(items, weights, targets)
    np.testing.assert_allclose(sparse.contributions(items, weights, targets), terms, rtol=1e-6)
    np.testing.assert_allclose(terms.sum(axis=0), dense.scores(items, weights)[targets], rtol=1e-5, atol=1e-6)


def test_an_empty_history_scores_nothing() -> None:
    sparse = store_item_item(_matrix(), max_dense_bytes=1, mean_kept=50)
    nothing = np.empty(0, np.int32), np.empty(0, np.float32)
    assert not sparse.scores(*nothing).any()
    assert not DenseItemItem(_matrix()).scores(*nothing).any()
