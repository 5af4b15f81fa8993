"""Take the best of a score vector: the one selection everything uses, with the one rule for ties.

Must not know what the scores mean.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Float32


def top_k(scores: Float32, k: int) -> NDArray[np.intp]:
    """Return the indices of the `k` highest of `scores` (float32 [n], -inf = not allowed), best first; of equal scores
    the lower index first, so that the answer does not depend on how many were asked for.

    Fewer than `k` come back when fewer are allowed. NaN is not a score: the caller's arrays were checked for it.
    Cost: O(n + k log k).
    """
    n = scores.shape[0]
    if k <= 0 or n == 0:
        return np.empty(0, np.intp)
    if k < n:
        # Everything that ties with the k-th score competes, else which tie wins would be numpy's choice.
        threshold = np.partition(scores, n - k)[n - k]
        candidates: NDArray[Any] = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(n)
    found = scores[candidates]
    order = np.argsort(-found, kind="stable")[:k]
    chosen = candidates[order]
    if np.isneginf(found[order[-1]]):
        chosen = chosen[~np.isneginf(scores[chosen])]
    return chosen
