"""Take the best of a score vector: the one selection everything uses, with the one rule for ties.

Must not know what the scores mean.
"""

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Float32

#: Up to so many are looked for one by one: ten of 1,682 take 9 µs so and 13 by a partition, which between other work,
#: when the processor's caches hold something else, becomes 25 and 33.
FEW = 16


def top_k(scores: Float32, k: int) -> NDArray[np.intp]:
    """Return the indices of the `k` highest of `scores` (float32 [n], -inf = not allowed), best first; of equal scores
    the lower index first, so that the answer does not depend on how many were asked for.

    Fewer than `k` come back when fewer are allowed. NaN is not a score: the caller's arrays were checked for it.
    Cost: O(n + k log k), for up to FEW of them O(n · k).
    """
    n = scores.shape[0]
    if k <= 0 or n == 0:
        return np.empty(0, np.intp)
    if k <= FEW:
        return take_best(scores.copy(), k)
    # methods, not functions of numpy, whose dispatch would cost a third of this
    if k < n:
        # Everything that ties with the k-th score competes, else which tie wins would be numpy's choice.
        parted = scores.copy()
        parted.partition(n - k)
        candidates = (scores >= parted[n - k]).nonzero()[0]
    else:
        candidates = np.arange(n)
    found = scores.take(candidates)
    order = (-found).argsort(kind="stable")[:k]
    chosen: NDArray[np.intp] = candidates.take(order)
    if found[order[-1]] == -np.inf:
        chosen = chosen[scores.take(chosen) > -np.inf]
    return chosen


def take_best(scores: Float32, k: int) -> NDArray[np.intp]:
    """`top_k` for a few of scores that nobody needs any more: the best is taken out (-inf) again and again; of equal
    ones `argmax` names the first. Cost: O(n · k).
    """
    chosen = []
    for _ in range(min(k, scores.size)):
        best = scores.argmax()
        if scores[best] == -np.inf:
            break
        chosen.append(best)
        scores[best] = -np.inf
    return np.array(chosen, np.intp)


def rank(scores: Float32) -> NDArray[np.intp]:
    """Return `top_k` of all: the indices of every score above -inf, best first, of equal scores the lower index first.

    Sorts 64-bit keys, in which float32 bits (they order as the numbers do once negative ones are turned round) stand
    above the index: a stable sort of the floats takes four times as long. Cost: O(n log n).
    """
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 equal to 0.0
    ordered = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    keys = (~ordered.astype(np.int64) << 32) | np.arange(scores.shape[0])
    keys.sort()
    indices = keys & 0xFFFFFFFF
    return indices[: np.count_nonzero(scores > -np.inf)]
