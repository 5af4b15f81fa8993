"""EDLAE against the textbook formula, computed plainly in float64."""

import numpy as np
import pytest

from recsys.errors import TrainingError
from recsys.models.linear import fit_edlae


def _pairs(seed: int, n_users: int, n_items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X = np.random.default_rng(seed).random((n_users, n_items)) < 0.2
    X[0] = True
    users, items = np.nonzero(X)
    return X.astype(np.float64), users.astype(np.int32), items.astype(np.int32)


@pytest.mark.parametrize(
    ("ridge", "dropout", "user_scaling", "item_scaling"),
    [(10.0, 0.0, 0.0, 0.0), (10.0, 0.3, 0.0, 0.0), (5.0, 0.5, 0.2, 0.0), (5.0, 0.2, 0.1, 0.15)],
)
@pytest.mark.parametrize("n_items", [30, 700])
def test_fit_is_the_closed_form(
    n_items: int, ridge: float, dropout: float, user_scaling: float, item_scaling: float
) -> None:
    X, users, items = _pairs(1, 90, n_items)
    D, S = X.sum(1) ** -user_scaling, X.sum(0).clip(1) ** -item_scaling
    D /= D[users].mean()
    S /= S[items].mean()
    scaled = D[:, None] * X * S
    G = scaled.T @ scaled
    C = np.linalg.inv(G + np.diag(ridge + dropout / (1 - dropout) * np.diag(G)))
    expected = -S[:, None] * C / np.diag(C)
    np.fill_diagonal(expected, 0)

    fit = fit_edlae(
        users, items, n_users=90, n_items=n_items, ridge=ridge, dropout=dropout,
        user_scaling=user_scaling, item_scaling=item_scaling,
    )  # fmt: skip

    np.testing.assert_allclose(fit.item_item, expected, atol=2e-5)
    correlations = fit.row_norms[:, None] * fit.item_item * fit.column_norms
    np.testing.assert_allclose(correlations, correlations.T, atol=2e-5)
    assert not fit.item_item.flags.writeable


def test_plain_ease_solves_its_own_constrained_least_squares() -> None:
    """No other B with a zero diagonal has a lower ‖X − XB‖² + λ‖B‖² (Steck 2019, eq. 4)."""
    X, users, items = _pairs(2, 60, 12)
    fit = fit_edlae(users, items, n_users=60, n_items=12, ridge=3, dropout=0, user_scaling=0, item_scaling=0)
    for item in range(12):
        others = [i for i in range(12) if i != item]
        A = X[:, others]
        best = np.linalg.solve(A.T @ A + 3 * np.eye(11), A.T @ X[:, item])
        np.testing.assert_allclose(fit.item_item[others, item], best, atol=1e-5)


def test_the_same_input_gives_the_same_bits() -> None:
    _, users, items = _pairs(3, 80, 600)
    first, second = (fit_edlae(users, items, n_users=80, n_items=600) for _ in range(2))
    assert first.item_item.tobytes() == second.item_item.tobytes()


def test_an_unrated_item_gets_no_weights() -> None:
    fit = fit_edlae(np.array([0, 1], np.int32), np.array([0, 1], np.int32), n_users=2, n_items=3)
    assert not fit.item_item[2].any()
    assert not fit.item_item[:, 2].any()


def test_a_matrix_that_cannot_be_inverted_is_said_to_be() -> None:
    users, items = np.array([0, 0], np.int32), np.array([0, 1], np.int32)
    with pytest.raises(TrainingError, match="RIDGE"):
        fit_edlae(users, items, n_users=1, n_items=2, ridge=-5.0)
