"""Predict ratings: user and item bias, and Bayesian probabilistic matrix factorization (BPMF) by Gibbs sampling.

Pure numpy, for evaluation; nothing of it is served. Must not know folds, metrics or the scale: no prediction is
clipped here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import Float32, Int32, Int64

Float64 = NDArray[np.float64]

#: Worked on at a time: ratings that fit in the processor's cache (6 MB at 10 factors), and matrices of entities.
_BLOCK_RATINGS, _BLOCK_ENTITIES = 65_536, 4096
#: Of the Normal-Wishart prior: β₀ as in the paper; W₀ = I and ν₀ = the number of columns are written in the code.
_BETA_0 = 2.0
_START_SCALE = 0.1


@dataclass(frozen=True)
class BiasModel:
    """r̂_ui = `mean` + `users`[u] + `items`[i]; float64 [n_users] and [n_items], 0 for whatever has no rating."""

    mean: float
    users: Float64
    items: Float64

    def predict(self, users: Int32, items: Int32) -> Float64:
        """Return the predicted ratings (float64 [n]) of n pairs: `users` int32 [n], `items` int32 [n]."""
        predicted: Float64 = self.mean + self.users[users] + self.items[items]
        return predicted


def fit_bias(
    users: Int32,
    items: Int32,
    values: Float32,
    *,
    n_users: int,
    n_items: int,
    user_damping: float = 5.0,
    item_damping: float = 2.0,
    sweeps: int = 10,
) -> BiasModel:
    """Minimise Σ (r_ui − μ − b_u − c_i)² + λ_u·Σ b_u² + λ_i·Σ c_i² over b and c by turns; μ is the mean rating.

    From b = 0, each sweep sets c_i = Σ_u (r_ui − μ − b_u) / (λ_i + n_i), then b_u = Σ_i (r_ui − μ − c_i) / (λ_u + n_u).
    `users`, `items` int32 and `values` float32, [n_ratings] each, not empty; λ_u = `user_damping` and λ_i =
    `item_damping`, both above 0. One sweep is the estimate of the source; ten are worth .002 RMSE on ml-100k.
    Source: Koren, "Factor in the Neighbors", ACM TKDD 4(1), 2010, section 2.1. Cost: O(sweeps · n_ratings).
    """
    mean = float(values.mean(dtype=np.float64))
    centred = values.astype(np.float64) - mean
    per_user = 1.0 / (user_damping + np.bincount(users, minlength=n_users))
    per_item = 1.0 / (item_damping + np.bincount(items, minlength=n_items))
    b = np.zeros(n_users)
    for _ in range(sweeps):
        c = np.bincount(items, centred - b[users], minlength=n_items) * per_item
        b = np.bincount(users, centred - c[items], minlength=n_users) * per_user
    return BiasModel(mean, b, c)


def predict_bpmf(
    users: Int32,
    items: Int32,
    values: Float32,
    asked_users: Int32,
    asked_items: Int32,
    *,
    n_users: int,
    n_items: int,
    n_factors: int = 10,
    sweeps: int = 60,
    burn_in: int = 20,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> Float64:
    """Return E[r_ij | ratings], float64 [n_asked], of the pairs asked about: r_ij ~ N(μ + u_i·v_j + b_i + c_j, 1/α).

    `users`, `items` int32 and `values` float32, [n_ratings] each, not empty, are learned from; `asked_users` and
    `asked_items` int32 [n_asked] may name any user < `n_users` and item < `n_items`, rated or not. The bias is one more
    column of a user's or item's vector x ~ N(m, Λ⁻¹), and (m, Λ) has a Normal-Wishart prior (μ₀ = 0, β₀ = 2, W₀ = I, ν₀
    = columns). Ratings are standardised first, so that priors mean the same on any scale, and α ~ Gamma(1, 1) is drawn
    too: on ml-100k u1 .9094, with α = 2 as in the paper .9129. Each of `sweeps` draws both sides once; the prediction
    is the mean over those after `burn_in`. There the side of a pair with fewer ratings stands with its conditional mean
    instead of its draw (Rao-Blackwell): the same expectation with less noise, above all for who has no rating.
    `progress` gets shares of 0–1. The same `seed` gives the same bits on the same machine with one BLAS thread.

    Errors: ValueError unless 0 ≤ `burn_in` < `sweeps`.
    Source: Salakhutdinov and Mnih, "Bayesian Probabilistic Matrix Factorization using MCMC", ICML 2008, section 3.
    Cost: O(sweeps · (n_ratings · k² + (n_users + n_items) · k³)), k = `n_factors` + 1: 80,000 ratings 2 s,
    a million about 15 s, 4 million 80 s, on one core. About 50 bytes a rating.
    """
    if not 0 <= burn_in < sweeps:
        raise ValueError(f"burn_in is {burn_in}, not in 0–{sweeps - 1}")
    mean = float(values.mean(dtype=np.float64))
    spread = float(values.std(dtype=np.float64)) or 1.0
    standard = (values.astype(np.float64) - mean) / spread
    by_user = _Side.of(users, items, standard, n_users)
    by_item = _Side.of(items, users, standard, n_items)

    rng = np.random.Generator(np.random.PCG64(seed))
    U = _START_SCALE * rng.standard_normal((n_users, n_factors + 1))
    V = _START_SCALE * rng.standard_normal((n_items, n_factors + 1))
    alpha = 1.0
    total = np.zeros(asked_users.size)
    unsure_user = np.diff(by_user.starts)[asked_users] < np.diff(by_item.starts)[asked_items]
    of_users, of_items = np.flatnonzero(unsure_user), np.flatnonzero(~unsure_user)
    for sweep in range(sweeps):
        progress(sweep / sweeps)
        expected, U, _ = _draw_side(by_user, V, *_draw_prior(U, rng), alpha, rng)
        if sweep >= burn_in:
            _add_products(total, of_users, expected, V, asked_users, asked_items)
        expected, V, squares = _draw_side(by_item, U, *_draw_prior(V, rng), alpha, rng)
        if sweep >= burn_in:
            _add_products(total, of_items, U, expected, asked_users, asked_items)
        alpha = rng.gamma(1.0 + standard.size / 2) / (1.0 + squares / 2)
    progress(1.0)
    predicted: Float64 = mean + spread * total / (sweeps - burn_in)
    return predicted


@dataclass(frozen=True)
class _Side:
    """The ratings seen from one side, sorted by it: entity e has rows `starts`[e] to `starts`[e + 1] (int64 [n + 1]) of
    `others` (int32) and `values` (float64).
    """

    others: Int32
    values: Float64
    starts: Int64

    @classmethod
    def of(cls, entities: Int32, others: Int32, values: Float64, n: int) -> "_Side":
        order = np.argsort(entities, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(entities, minlength=n))])
        return cls(others[order], values[order], starts)

    def block_end(self, first: int) -> int:
        """Where the block of entities from `first` ends; it has at least one."""
        full = int(np.searchsorted(self.starts, self.starts[first] + _BLOCK_RATINGS, side="right")) - 1
        return min(max(full, first + 1), first + _BLOCK_ENTITIES, self.starts.size - 1)


def _draw_side(
    side: _Side, others: Float64, m: Float64, precision: Float64, alpha: float, rng: np.random.Generator
) -> tuple[Float64, Float64, float]:
    """Draw every x_e from N(P⁻¹·(Λm + α·Xᵀr), P⁻¹), P = Λ + α·XᵀX (eq. 11–13 of the paper), and return these means and
    draws, float64 [n, k] each, and Σ (r − X·x_e)² over all ratings.

    The rows of X are (v_j, 1) of the rated, and r their ratings less c_j, where `others` [n_others, k] has rows (v_j,
    c_j). `m` [k] and `precision` Λ [k, k] are of the prior.
    """
    n, k = side.starts.size - 1, m.size
    with_one = np.insert(others, k - 1, 1.0, axis=1)
    means, draws = np.empty((n, k)), np.empty((n, k))
    squares = 0.0
    first = 0
    while first < n:
        last = side.block_end(first)
        start, stop = side.starts[first], side.starts[last]
        rows = with_one[side.others[start:stop]]
        np.subtract(side.values[start:stop], rows[:, k], out=rows[:, k])
        # (X, r)ᵀ(X, r) holds all that is needed of the ratings: XᵀX, Xᵀr and rᵀr.
        grams = np.empty((last - first, k + 1, k + 1))
        ends = (side.starts[first : last + 1] - start).tolist()
        for e in range(last - first):
            own = rows[ends[e] : ends[e + 1]]
            np.dot(own.T, own, out=grams[e])
        L = np.linalg.cholesky(precision + alpha * grams[:, :k, :k])
        y = np.linalg.solve(L, (precision @ m + alpha * grams[:, :k, k])[:, :, np.newaxis])
        noise = rng.standard_normal(y.shape)
        solved = np.linalg.solve(L.transpose(0, 2, 1), np.concatenate([y, y + noise], axis=2))
        means[first:last], draws[first:last] = solved[:, :, 0], solved[:, :, 1]
        signed = np.concatenate([solved[:, :, 1], np.full((last - first, 1), -1.0)], axis=1)
        squares += float(np.sum((grams @ signed[:, :, np.newaxis])[:, :, 0] * signed))
        first = last
    return means, draws, max(squares, 0.0)


def _draw_prior(X: Float64, rng: np.random.Generator) -> tuple[Float64, Float64]:
    """Draw (m, Λ) given the vectors X (float64 [n, k]) of one side: Λ ~ Wishart(W*, ν*), m ~ N(μ*, (β*·Λ)⁻¹) (eq. 14).

    The Wishart by Bartlett's decomposition: Λ = (T·A)(T·A)ᵀ with T·Tᵀ = W*, A lower triangular with standard normals
    below a diagonal of √χ²(ν* − row).
    """
    n, k = X.shape
    average = X.mean(axis=0)
    centred = X - average
    shift = _BETA_0 * n / (_BETA_0 + n) * np.outer(average, average)
    T = np.linalg.cholesky(np.linalg.inv(np.eye(k) + centred.T @ centred + shift))
    A = np.tril(rng.standard_normal((k, k)), -1)
    A[np.diag_indices(k)] = np.sqrt(rng.chisquare(k + n - np.arange(k)))
    root = T @ A
    m = n * average / (_BETA_0 + n) + np.linalg.solve(root.T, rng.standard_normal(k)) / np.sqrt(_BETA_0 + n)
    return m, root @ root.T


def _add_products(total: Float64, pairs: Int64, U: Float64, V: Float64, users: Int32, items: Int32) -> None:
    """Add u_i·v_j + b_i + c_j to `total` (float64 [n_asked]), in place and block by block, for those `pairs` (int64,
    row numbers of `users` and `items`).
    """
    left, right = np.insert(U, U.shape[1], 1.0, axis=1), np.insert(V, V.shape[1] - 1, 1.0, axis=1)
    for start in range(0, pairs.size, _BLOCK_RATINGS):
        block = pairs[start : start + _BLOCK_RATINGS]
        total[block] += np.einsum("nk,nk->n", left[users[block]], right[items[block]])
