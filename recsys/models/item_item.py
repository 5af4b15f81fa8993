"""The item-item matrix B of a linear model, stored dense or thresholded, and the three questions asked of it.

Row i of B holds what an item i in a history adds to every other item's score; the diagonal is zero.
Owns the storage rule and the arithmetic on it. Must not import scipy: the server scores with numpy alone (`FINDINGS` 2:
through scipy.sparse one user costs two to three times as much).
"""

import threading
from dataclasses import dataclass

import numpy as np

from recsys.datasets.ratings import Float32, Int32, Int64, freeze

#: Up to this size B is stored dense (4,096 items); above it, thresholded to MEAN_KEPT entries a row on average.
MAX_DENSE_BYTES = 64 * 2**20
MEAN_KEPT = 200
_BLOCK_ROWS = 512
_GATHERED_ROWS = 64
_kept = threading.local()


def _gathered(n_items: int) -> Float32:
    """This thread's memory for gathered rows, float32 [_GATHERED_ROWS, n_items]; what is in it means nothing."""
    block: Float32 | None = getattr(_kept, "block", None)
    if block is None or block.shape[1] != n_items:
        block = _kept.block = np.empty((_GATHERED_ROWS, n_items), np.float32)
    return block


@dataclass(frozen=True)
class DenseItemItem:
    """B as float32 [n_items, n_items]."""

    values: Float32

    @property
    def n_items(self) -> int:
        return int(self.values.shape[0])

    def scores(self, items: Int32, weights: Float32) -> Float32:
        """Return s = w·B[items], float32 [n_items]. Cost: O(n_history · n_items).

        The rows are gathered a few at a time into memory that each thread keeps: with the server's allocator settings,
        a copy of all of them would be fresh pages from the kernel every time, at three times the cost of the product.
        """
        scores = self._add_up(items[:_GATHERED_ROWS], weights[:_GATHERED_ROWS])
        for start in range(_GATHERED_ROWS, items.size, _GATHERED_ROWS):
            part = slice(start, start + _GATHERED_ROWS)
            scores += self._add_up(items[part], weights[part])
        return scores

    def _add_up(self, items: Int32, weights: Float32) -> Float32:
        rows = _gathered(self.n_items)[: items.size]
        self.values.take(items, axis=0, out=rows, mode="clip")  # the default mode would copy through a buffer
        return weights @ rows

    def row(self, item: int) -> Float32:
        """Return what `item` adds to each item's score at weight 1, float32 [n_items]."""
        row: Float32 = self.values[item]
        return row

    def contributions(self, items: Int32, weights: Float32, targets: Int32) -> Float32:
        """Return w_i·B[i, t], float32 [n_history, n_targets]: each column's sum is that target's score."""
        terms: Float32 = weights[:, np.newaxis] * self.values[np.ix_(items, targets)]
        return terms


@dataclass(frozen=True)
class SparseItemItem:
    """B by rows: `indptr` int64 [n_items + 1], `indices` int32 [nnz] increasing within a row, `values` float32
    [nnz].
    """

    indptr: Int64
    indices: Int32
    values: Float32

    @property
    def n_items(self) -> int:
        return int(self.indptr.shape[0] - 1)

    def scores(self, items: Int32, weights: Float32) -> Float32:
        """Return s = w·B[items], float32 [n_items]. Cost: O(kept entries of the history's rows + n_items)."""
        if items.size == 0:
            return np.zeros(self.n_items, np.float32)
        starts, ends = self.indptr[items], self.indptr[items + 1]
        rows = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        columns = np.concatenate([self.indices[row] for row in rows])
        terms = np.concatenate([self.values[row] for row in rows]) * np.repeat(weights, ends - starts)
        return np.bincount(columns, terms, self.n_items).astype(np.float32)

    def row(self, item: int) -> Float32:
        row = np.zeros(self.n_items, np.float32)
        kept = slice(self.indptr[item], self.indptr[item + 1])
        row[self.indices[kept]] = self.values[kept]
        return row

    def contributions(self, items: Int32, weights: Float32, targets: Int32) -> Float32:
        terms = np.zeros((items.shape[0], targets.shape[0]), np.float32)
        column_of = np.full(self.n_items, -1, np.int32)
        column_of[targets] = np.arange(targets.shape[0])
        for position, item in enumerate(items.tolist()):
            kept = slice(self.indptr[item], self.indptr[item + 1])
            columns = column_of[self.indices[kept]]
            wanted = columns >= 0
            terms[position, columns[wanted]] = weights[position] * self.values[kept][wanted]
        return terms


ItemItem = DenseItemItem | SparseItemItem


def store_item_item(dense: Float32, *, max_dense_bytes: int = MAX_DENSE_BYTES, mean_kept: int = MEAN_KEPT) -> ItemItem:
    """Choose the storage for B (float32 [n_items, n_items]): dense up to `max_dense_bytes`, else every entry whose size
    passes one global threshold, set so that `mean_kept` a row stay on average. Negative entries stay by their size too:
    dropping them costs 2–4 % NDCG, the threshold less than 1 % (`FINDINGS` 2). Cost: two passes over B.
    """
    n_items = dense.shape[0]
    if dense.nbytes <= max_dense_bytes or mean_kept >= n_items:
        return DenseItemItem(freeze(np.ascontiguousarray(dense)))
    threshold = _threshold(dense, keep=mean_kept * n_items)
    counts = np.zeros(n_items, np.int64)
    indices: list[Int32] = []
    values: list[Float32] = []
    for row in range(n_items):
        kept = np.flatnonzero(np.abs(dense[row]) >= threshold)
        counts[row] = kept.size
        indices.append(kept.astype(np.int32))
        values.append(dense[row, kept])
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return SparseItemItem(freeze(indptr), freeze(np.concatenate(indices)), freeze(np.concatenate(values)))


def _threshold(dense: Float32, *, keep: int) -> float:
    """Find the size that about `keep` entries of B reach, by counting the upper 16 bits of |B|: float32 bit patterns
    order as the numbers do, so this is a quantile to within 1 % of the value, with no sorting and no copy of B.
    """
    counts = np.zeros(2**16, np.int64)
    for start in range(0, dense.shape[0], _BLOCK_ROWS):
        sizes = np.abs(dense[start : start + _BLOCK_ROWS])
        counts += np.bincount((sizes.view(np.uint32) >> 16).ravel(), minlength=2**16)
    at_least = np.cumsum(counts[::-1])[::-1]
    bucket = max(1, int(np.count_nonzero(at_least >= keep)) - 1)
    return float(np.array([bucket << 16], np.uint32).view(np.float32)[0])
