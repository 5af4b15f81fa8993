"""The two models of rating prediction: formulas against direct computation, and what Gibbs sampling must find."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from recsys.models import rating_prediction
from recsys.models.rating_prediction import fit_bias, predict_bpmf

Ratings = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def ratings(*rows: tuple[int, int, float]) -> Ratings:
    users, items, values = zip(*rows, strict=True)
    return np.array(users, np.int32), np.array(items, np.int32), np.array(values, np.float32)


def planted(noise: float, *, n_users: int = 120, n_items: int = 80, rank: int = 2) -> tuple[Ratings, Ratings]:
    """Half of the ratings of a matrix of low rank with biases, and a quarter to ask about, without noise."""
    rng = np.random.default_rng(5)
    U, V = rng.standard_normal((n_users, rank)), rng.standard_normal((n_items, rank))
    full = 3 + 0.5 * rng.standard_normal((n_users, 1)) + 0.5 * rng.standard_normal(n_items) + U @ V.T
    pairs = rng.permutation(n_users * n_items)
    known, asked = np.split(pairs[: 3 * pairs.size // 4], [pairs.size // 2])
    noisy = full + noise * rng.standard_normal(full.shape)

    def columns(cells: NDArray[Any], matrix: NDArray[Any]) -> Ratings:
        users, items = (cells // n_items).astype(np.int32), (cells % n_items).astype(np.int32)
        return users, items, matrix[users, items].astype(np.float32)

    return columns(known, noisy), columns(asked, full)


class TestBias:
    def test_one_sweep_is_the_damped_mean_of_items_and_then_of_users(self) -> None:
        model = fit_bias(
            *ratings((0, 0, 5), (0, 1, 3), (1, 0, 4), (2, 1, 0)),
            n_users=4, n_items=3, user_damping=1.0, item_damping=2.0, sweeps=1,
        )  # fmt: skip

        assert model.mean == 3.0
        assert model.items.tolist() == [(2 + 1) / (2 + 2), (0 - 3) / (2 + 2), 0.0]
        assert model.users.tolist() == pytest.approx([(2 - 0.75 + 0 + 0.75) / 3, (1 - 0.75) / 2, (-3 + 0.75) / 2, 0.0])

    def test_many_sweeps_reach_the_minimum(self) -> None:
        """There the gradient is nought: Σ errors of a user = λ·b, and of an item = λ·c."""
        (users, items, values), _ = planted(0.3)
        model = fit_bias(users, items, values, n_users=120, n_items=80, sweeps=200)
        errors = values - model.predict(users, items)

        np.testing.assert_allclose(np.bincount(users, errors), 5.0 * model.users, atol=1e-6)
        np.testing.assert_allclose(np.bincount(items, errors), 2.0 * model.items, atol=1e-6)

    def test_whom_it_has_not_seen_gets_the_mean(self) -> None:
        model = fit_bias(*ratings((0, 0, 5), (1, 0, 2)), n_users=3, n_items=2)

        assert model.predict(np.array([2], np.int32), np.array([1], np.int32)).tolist() == [3.5]


class TestDraws:
    """One Gibbs step against the equations, written out for each user by itself."""

    @staticmethod
    def step(alpha: float = 1.7) -> tuple[Any, ...]:
        rng = np.random.default_rng(3)
        users, items, values = ratings(
            *((u, i, rng.normal()) for u in range(6) for i in range(9) if (u + i) % 3 and u != 4)
        )
        V, m, precision = rng.standard_normal((9, 4)), rng.standard_normal(4), np.diag([1.0, 2.0, 3.0, 4.0])
        side = rating_prediction._Side.of(users, items, values.astype(np.float64), 6)
        drawn = rating_prediction._draw_side(side, V, m, precision, alpha, np.random.default_rng(0))
        return users, items, values, V, m, precision, *drawn

    def test_the_mean_is_the_ridge_solution_around_the_prior(self) -> None:
        users, items, values, V, m, precision, means, _, _ = self.step()

        for user in range(6):
            rated = items[users == user]
            X, r = np.column_stack([V[rated, :3], np.ones(rated.size)]), values[users == user] - V[rated, 3]
            expected = np.linalg.solve(precision + 1.7 * X.T @ X, precision @ m + 1.7 * X.T @ r)
            np.testing.assert_allclose(means[user], expected, atol=1e-9)
        np.testing.assert_allclose(means[4], m)  # has rated nothing

    def test_the_squares_are_those_of_the_draws(self) -> None:
        users, items, values, V, _, _, _, draws, squares = self.step()
        predicted = np.sum(draws[users, :3] * V[items, :3], axis=1) + draws[users, 3] + V[items, 3]

        assert squares == pytest.approx(np.sum((values - predicted) ** 2))

    def test_draws_spread_as_the_posterior_does(self) -> None:
        """5,000 users with the same ratings are 5,000 draws from one posterior."""
        n, rng = 5000, np.random.default_rng(1)
        V, precision = rng.standard_normal((3, 3)), np.diag([1.0, 2.0, 0.5])
        users, items = np.repeat(np.arange(n, dtype=np.int32), 3), np.tile(np.arange(3, dtype=np.int32), n)
        side = rating_prediction._Side.of(users, items, np.tile([1.0, -1.0, 0.5], n), n)
        means, draws, _ = rating_prediction._draw_side(side, V, np.zeros(3), precision, 2.0, rng)

        X = np.column_stack([V[:, :2], np.ones(3)])
        posterior = np.linalg.inv(precision + 2.0 * X.T @ X)
        np.testing.assert_allclose(np.cov(draws.T), posterior, atol=0.1 * posterior.max())
        np.testing.assert_allclose(draws.mean(axis=0), means[0], atol=0.05)

    def test_the_prior_follows_the_vectors(self) -> None:
        rng = np.random.default_rng(2)
        covariance = np.array([[2.0, 0.6], [0.6, 0.5]])
        X = rng.multivariate_normal([1.0, -2.0], covariance, 20_000)
        drawn = [rating_prediction._draw_prior(X, rng) for _ in range(20)]

        np.testing.assert_allclose(np.mean([m for m, _ in drawn], axis=0), [1.0, -2.0], atol=0.03)
        np.testing.assert_allclose(np.linalg.inv(np.mean([L for _, L in drawn], axis=0)), covariance, atol=0.05)

    def test_the_prior_of_few_vectors_is_as_wide_as_the_equations_say(self) -> None:
        """E Λ = ν*·W*: here n = 1, k = 2, x = 0, so ν* = 3 and W* = I; and m ~ N(0, (3Λ)⁻¹)."""
        rng = np.random.default_rng(4)
        drawn = [rating_prediction._draw_prior(np.zeros((1, 2)), rng) for _ in range(5000)]

        np.testing.assert_allclose(np.mean([L for _, L in drawn], axis=0), 3 * np.eye(2), atol=0.15)
        assert np.mean([m @ L @ m for m, L in drawn]) == pytest.approx(2 / 3, rel=0.1)


class TestBpmf:
    def predict(self, known: Ratings, asked: Ratings, **more: Any) -> NDArray[Any]:
        return predict_bpmf(*known, *asked[:2], **{"n_users": 120, "n_items": 80, "n_factors": 4, **more})

    def test_finds_what_was_planted(self) -> None:
        """A matrix of rank 2 under noise of .5, each user seen 40 times: the error that is left is near .5·√(6/40)."""
        known, asked = planted(0.5)
        error = float(np.sqrt(np.mean((self.predict(known, asked) - asked[2]) ** 2)))
        bias = fit_bias(*known, n_users=120, n_items=80).predict(*asked[:2])

        assert 0.12 < error < 0.25
        assert float(np.sqrt(np.mean((bias - asked[2]) ** 2))) > 1.0

    def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(self) -> None:
        known, asked = planted(0.5)
        first, second, other = (self.predict(known, asked, sweeps=6, burn_in=2, seed=seed) for seed in (1, 1, 2))

        assert first.tobytes() == second.tobytes()
        assert not np.allclose(first, other)

    def test_the_size_of_blocks_changes_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        known, asked = planted(0.5)
        expected = self.predict(known, asked, sweeps=4, burn_in=1)
        monkeypatch.setattr(rating_prediction, "_BLOCK_RATINGS", 50)
        monkeypatch.setattr(rating_prediction, "_BLOCK_ENTITIES", 7)

        np.testing.assert_allclose(self.predict(known, asked, sweeps=4, burn_in=1), expected, rtol=1e-6)

    def test_another_scale_gives_the_same_predictions_on_that_scale(self) -> None:
        (users, items, values), asked = planted(0.5)
        stars = self.predict((users, items, values), asked, sweeps=6, burn_in=2)
        percent = self.predict((users, items, 20 * values + 7), asked, sweeps=6, burn_in=2)

        np.testing.assert_allclose(percent, 20 * stars + 7, rtol=1e-3)

    def test_a_new_user_gets_what_others_say_and_a_new_item_what_the_user_says(self) -> None:
        """Number 120 and number 80 have no rating; the means of items and of users spread by .5."""
        users, items, values = planted(0.5)[0]
        by_item, by_user = (np.bincount(side, values) / np.bincount(side) for side in (items, users))
        asked = ratings(*((120, i, by_item[i]) for i in range(80)), *((u, 80, by_user[u]) for u in range(120)))
        found = self.predict((users, items, values), asked, n_users=121, n_items=81)
        nothing = self.predict((users, items, values), ratings((120, 80, 0)), n_users=121, n_items=81)

        for part in (slice(80), slice(80, None)):
            assert np.sqrt(np.mean((found[part] - asked[2][part]) ** 2)) < 0.25
            assert np.corrcoef(found[part], asked[2][part])[0, 1] > 0.9
        assert nothing[0] == pytest.approx(values.mean(), abs=0.4)

    def test_two_seeds_agree_on_whom_nobody_knows(self) -> None:
        """By conditional means they differ by .03; by draws from the prior it would be .2."""
        known = planted(0.5)[0]
        asked = ratings(*((120, i, 0) for i in range(80)), *((u, 80, 0) for u in range(120)))
        first, second = (self.predict(known, asked, n_users=121, n_items=81, seed=seed) for seed in (1, 2))

        for part in (slice(80), slice(80, None)):
            assert np.sqrt(np.mean((first[part] - second[part]) ** 2)) < 0.08

    def test_ratings_of_one_value_predict_it(self) -> None:
        known = ratings(*((u, i, 3.3) for u in range(8) for i in range(8) if u != i))
        asked = ratings(*((u, u, 0) for u in range(8)), (8, 8, 0))

        np.testing.assert_allclose(self.predict(known, asked, n_users=9, n_items=9), 3.3, atol=0.1)

    def test_progress_goes_from_nought_to_one(self) -> None:
        shares: list[float] = []
        self.predict(*planted(0.5), sweeps=4, burn_in=1, progress=shares.append)

        assert shares == [0.0, 0.25, 0.5, 0.75, 1.0]

    @pytest.mark.parametrize(("sweeps", "burn_in"), [(5, 5), (5, 6), (5, -1), (0, 0)])
    def test_a_burn_in_that_leaves_nothing_is_refused(self, sweeps: int, burn_in: int) -> None:
        with pytest.raises(ValueError, match="burn_in"):
            self.predict(*planted(0.5), sweeps=sweeps, burn_in=burn_in)

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.5, 3, 5, 100, 1e6])),
            min_size=1, max_size=12, unique_by=lambda row: row[:2],
        ),
        st.integers(0, 100),
    )  # fmt: skip
    def test_whatever_the_ratings_the_predictions_are_finite(
        self, rows: list[tuple[int, int, float]], seed: int
    ) -> None:
        asked = ratings(*((u, i, 0) for u in range(5) for i in range(5)))
        found = self.predict(ratings(*rows), asked, n_users=5, n_items=5, sweeps=8, burn_in=3, seed=seed)

        assert np.all(np.isfinite(found))
