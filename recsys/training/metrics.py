"""Ranking metrics of one user's list, and their mean over users with a confidence interval.

Pure functions; what is ranked and for whom is `training.evaluation`'s business.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_RESAMPLES = 1000
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with the ends of its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def gains(ranked: NDArray[np.integer], relevant: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which of `ranked` (items, best first) are in `relevant`, bool [n_ranked]."""
    return np.isin(ranked, relevant)


def ndcg(hits: NDArray[np.bool_], n_relevant: int, k: int) -> float:
    """Return DCG@k / ideal DCG@k with binary gains: Σ hit_i / log₂(i+1), the ideal cut at min(n_relevant, k).

    `hits` bool, one for each list position from the first. Source: Järvelin and Kekäläinen, ACM TOIS 20(4), 2002.
    """
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = discounts[: min(n_relevant, k)].sum()
    return float(discounts[: hits.size][hits[:k]].sum() / ideal) if n_relevant else 0.0


def recall(hits: NDArray[np.bool_], n_relevant: int, k: int, *, cut: bool = False) -> float:
    """Return the share of the relevant items among the first `k`; `cut` divides by min(n_relevant, k) instead, as Liang
    et al. (2018) do.
    """
    return float(hits[:k].sum() / (min(n_relevant, k) if cut else n_relevant)) if n_relevant else 0.0


def mean_with_interval(values: Float64, *, seed: int = 0) -> Estimate:
    """Return the mean of `values` (float64 [n_users]) with its 95 % interval from 1,000 bootstrap resamples of users.

    Deterministic for a `seed`. Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3.
    Cost: O(resamples · n_users).
    """
    n = values.size
    if n == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    rng = np.random.Generator(np.random.PCG64(seed))
    means = np.array([values[rng.integers(0, n, n)].mean() for _ in range(_RESAMPLES)])
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Estimate(float(values.mean()), float(low), float(high))


def share_with_interval(count: int, total: int) -> Estimate:
    """Return count/total with its 95 % Wilson score interval. Source: Wilson, JASA 22, 1927."""
    if total == 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    z, share = 1.959964, count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z * np.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / (1 + z * z / total)
    return Estimate(share, float(max(0.0, centre - half)), float(min(1.0, centre + half)))
