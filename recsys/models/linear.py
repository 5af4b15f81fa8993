"""Fit the EASE family: one closed-form linear item-item model. Runs in the training process, needs scipy.

Must not be imported by the server.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.datasets.ratings import Float32, Int32, freeze
from recsys.errors import TrainingError

_BLOCK_ROWS = 512


@dataclass(frozen=True)
class LinearFit:
    """`item_item` float32 [n_items, n_items] is B with a zero diagonal. With the two norms, float32 [n_items] each, it
    gives the symmetric partial correlation of two items, which "similar items" ranks by:
    ρ_ij = row_norms[i] · B_ij · column_norms[j] = −C_ij / √(C_ii·C_jj).
    """

    item_item: Float32
    row_norms: Float32
    column_norms: Float32


def fit_edlae(
    users: Int32,
    items: Int32,
    *,
    n_users: int,
    n_items: int,
    ridge: float = 400.0,
    dropout: float = 0.3,
    user_scaling: float = 0.1,
    item_scaling: float = 0.1,
    progress: Callable[[float], None] = lambda share: None,
) -> LinearFit:
    """Fit B = S·(I − C·diag(1/diag C)) with C = (G + Λ)⁻¹, G = X̃ᵀX̃, X̃ = D·X·S, Λ = λ·I + p/(1−p)·diag(G).

    `users`, `items` int32 [n_ratings] are the ones of the binary X [n_users, n_items], each pair at most once; λ =
    `ridge` > 0, p = `dropout` in [0, 1). D = n_u^−β (β = `user_scaling`) makes a user with a thousand ratings count for
    less than a hundred users with ten; S = n_i^−α (α = `item_scaling`) makes a rarely rated item in a history say more
    than one that everybody rated. Both are scaled to a mean of 1 over the ratings, so that λ means the same on any
    data. p = α = β = 0 is EASE. `progress` gets shares of 0–1.

    Errors: TrainingError when G + Λ is not positive definite in float32.
    Source: Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019, eq. 8 (arXiv:1905.03375); Λ from
    Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020, eq. 5. The scalings are ours to choose:
    on ml-100k they take T from .2186 to .2204 and S (12 seeds) from +.189 to +.195 over popularity.
    Cost: O(n_items³) time, n_items² · 4 bytes twice at the peak. float32 is safe at useful λ (relative error 5e-6), and
    float64 crashes OpenBLAS at 16,000 items on AVX-512 (`FINDINGS` 2).
    """
    from scipy.linalg import lapack
    from scipy.sparse import csr_array

    D = _scaling(users, n_users, user_scaling)
    S = _scaling(items, n_items, item_scaling)
    X = csr_array((D[users] * S[items], (users, items)), shape=(n_users, n_items))
    Xt = X.T.tocsr()
    G = np.empty((n_items, n_items), np.float32)
    for start in range(0, n_items, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, n_items))
        G[block] = (Xt[block] @ X).toarray()
        progress(0.3 * block.stop / n_items)

    regularized = np.einsum("ii->i", G)
    regularized += np.float32(ridge) + np.float32(dropout / (1.0 - dropout)) * regularized
    # G is symmetric, so its transpose is the same matrix in the column order that LAPACK inverts in place.
    factor, info = lapack.spotrf(G.T, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        raise TrainingError(
            f"the item-item matrix is not positive definite (spotrf says {info})",
            hint="raise RECSYS_TRAINING__RIDGE",
        )
    progress(0.6)
    inverse, info = lapack.spotri(factor, lower=1, overwrite_c=1)
    if info != 0:
        raise TrainingError(f"the item-item matrix cannot be inverted (spotri says {info})")
    progress(0.9)
    C: Any = inverse.T  # row-major again; what LAPACK wrote is its upper triangle
    diagonal = np.einsum("ii->i", C).copy()
    _mirror_upper(C)
    B = C
    B *= S[:, np.newaxis]
    B /= -diagonal
    np.fill_diagonal(B, 0.0)
    progress(1.0)
    column_norms = np.sqrt(diagonal)
    return LinearFit(freeze(B), freeze(1 / (S * column_norms)), freeze(column_norms))


def _scaling(index: Int32, n: int, exponent: float) -> Float32:
    """Return count^−exponent for each of `n` users or items, with a mean of 1 over the ratings (float32 [n])."""
    counts = np.maximum(np.bincount(index, minlength=n), 1).astype(np.float64)
    scaling = counts**-exponent
    return (scaling / (scaling[index].mean() if index.size else 1.0)).astype(np.float32)


def _mirror_upper(matrix: Float32) -> None:
    """Copy the upper triangle onto the lower one, in place and block by block."""
    n = matrix.shape[0]
    for start in range(0, n, _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, n)
        corner = np.triu(matrix[start:stop, start:stop])
        matrix[start:stop, start:stop] = corner + np.triu(corner, 1).T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T
