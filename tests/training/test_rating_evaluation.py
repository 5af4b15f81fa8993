"""Protocol R: metrics by hand, intervals, bounds, and the figures it must reach on MovieLens 100K."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.datasets.folds import Fold, canonical_folds, random_folds
from recsys.datasets.ratings import Catalogue, Dataset
from recsys.datasets.reading import read_dataset
from recsys.training import rating_evaluation
from recsys.training.rating_evaluation import RatingEvaluation, evaluate_ratings, sample_users


def rated(*rows: tuple[int, int, float]) -> Dataset:
    users, items, values = zip(*rows, strict=True)
    return Dataset(
        tuple(f"u{i}" for i in range(max(users) + 1)),
        Catalogue.bare([f"i{i}" for i in range(max(items) + 1)]),
        np.array(users, np.int32),
        np.array(items, np.int32),
        np.array(values, np.float32),
        np.zeros(len(users), np.int64),
    )


def fold(name: str, train: list[int], test: list[int]) -> Fold:
    return Fold(name, np.array(train), np.array(test))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few sweeps are enough where the figures do not matter."""
    whole = rating_evaluation.predict_bpmf
    monkeypatch.setattr(
        rating_evaluation, "predict_bpmf", lambda *given, **more: whole(*given, **more, sweeps=5, burn_in=2)
    )


@pytest.mark.usefixtures("quick")
class TestMetrics:
    def test_are_the_mean_of_the_folds(self) -> None:
        """The mean rating predicts 3 in fold a (errors 2, 1) and 4 in fold b (error 1)."""
        data = rated((0, 0, 2), (0, 1, 4), (1, 0, 5), (1, 1, 4), (2, 0, 3))
        found = evaluate_ratings(data, (fold("a", [0, 1], [2, 3]), fold("b", [1, 3], [4])), about="two by hand")

        assert found.per_fold["a"]["mean"] == pytest.approx({"rmse": math.sqrt((4 + 1) / 2), "mae": 1.5})
        assert found.per_fold["b"]["mean"] == pytest.approx({"rmse": 1.0, "mae": 1.0})
        assert found.models["mean"]["rmse"].value == pytest.approx((math.sqrt(2.5) + 1) / 2)
        assert found.models["mean"]["mae"].value == pytest.approx(1.25)
        assert found.n_questions == 2  # user 0 is tested nowhere

    def test_predictions_are_clipped_to_the_scale(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rating_evaluation, "predict_bpmf", lambda *given, **_: np.array([1e9, -1e9]))
        data = rated((0, 0, 2), (0, 1, 4), (1, 0, 4), (1, 1, 4))
        found = evaluate_ratings(data, (fold("a", [0, 1], [2, 3]),), about="")

        assert found.per_fold["a"]["bpmf"]["mae"] == pytest.approx((1 + 3) / 2)  # 5 and 1 for 4 and 4

    def test_intervals_hold_the_value_and_the_difference_is_of_the_first_two(self, sample: Path) -> None:
        data = read_dataset(sample)
        found = evaluate_ratings(data, random_folds(data, seed=0), about="")

        for metrics in (*found.models.values(), found.difference):
            for estimate in metrics.values():
                assert estimate.low < estimate.value < estimate.high
        for name in ("rmse", "mae"):
            pair = found.models["bpmf"][name].value - found.models["bias"][name].value
            assert found.difference[name].value == pytest.approx(pair)
            assert found.models["bias"][name].value < found.models["mean"][name].value
        # Paired by user, so much narrower than the two side by side.
        bias, both = found.models["bias"]["rmse"], found.difference["rmse"]
        assert both.high - both.low < 0.5 * (bias.high - bias.low)

    def test_is_the_same_each_time(self, sample: Path) -> None:
        data = read_dataset(sample)
        folds = random_folds(data, seed=0)[:1]
        first, second = (evaluate_ratings(data, folds, about="", seed=4).as_dict() for _ in range(2))

        assert first == second
        assert first != evaluate_ratings(data, folds, about="", seed=5).as_dict()

    def test_users_and_items_without_a_rating_to_learn_from_are_predicted_too(self) -> None:
        rows = [(u, i, 1 + (u + i) % 5) for u in range(6) for i in range(6)]
        test = [n for n, (u, i, _) in enumerate(rows) if 5 in {u, i}]
        train = [n for n in range(len(rows)) if n not in test]
        found = evaluate_ratings(rated(*rows), (fold("cold", train, test),), about="")

        for metrics in found.models.values():
            assert 0 < metrics["mae"].value <= metrics["rmse"].value <= 4

    def test_a_data_set_of_one_rating_value_is_predicted_exactly(self) -> None:
        data = rated(*((u, i, 3.3) for u in range(4) for i in range(4)))
        found = evaluate_ratings(data, random_folds(data, seed=0), about="")

        estimates = [value for metrics in found.models.values() for value in metrics.values()]
        numbers = [number for estimate in estimates for number in vars(estimate).values()]
        np.testing.assert_allclose(numbers, 0.0, atol=1e-6)

    def test_a_resample_without_anybody_of_a_fold_leaves_that_fold_out(self) -> None:
        """Each user is tested in a fold of their own: no number may become NaN."""
        rows = [(u, i, 1 + (u * i) % 5) for u in range(3) for i in range(5)]
        folds = tuple(
            fold(str(u), [n for n in range(15) if n // 5 != u], list(range(5 * u, 5 * u + 5))) for u in range(3)
        )
        found = evaluate_ratings(rated(*rows), folds, about="")

        assert np.isfinite([number for e in found.models["bias"].values() for number in vars(e).values()]).all()

    def test_progress_names_the_folds_and_never_goes_back(self) -> None:
        told: list[tuple[str, float]] = []
        data = rated(*((u, i, 1 + (u + i) % 5) for u in range(4) for i in range(5)))
        evaluate_ratings(data, random_folds(data, seed=0), about="", progress=lambda *said: told.append(said))

        shares = [share for _, share in told]
        assert [f"fold {n}" for n in range(1, 6)] + ["intervals"] == list(dict.fromkeys(stage for stage, _ in told))
        assert shares == sorted(shares)
        assert (shares[0], shares[-1]) == (0.0, 1.0)


class TestLargeData:
    data = rated(*((u, i, 3) for u in range(20) for i in range(u + 1)))

    def test_users_are_drawn_whole_up_to_the_limit(self) -> None:
        part = sample_users(self.data, seed=1, limit=100)

        assert 100 - 20 < part.n_ratings <= 100
        counts = np.bincount(part.users, minlength=20)
        assert {0} == {int(count) for user, count in enumerate(counts) if count != user + 1}

    def test_the_limit_may_be_reached(self) -> None:
        assert sample_users(rated((0, 0, 3), (1, 0, 2), (2, 0, 4)), seed=0, limit=2).n_ratings == 2

    def test_the_seed_decides_who(self) -> None:
        first, second, other = (sample_users(self.data, seed=seed, limit=100) for seed in (1, 1, 2))

        assert first.users.tolist() == second.users.tolist()
        assert first.users.tolist() != other.users.tolist()

    def test_one_user_is_there_even_over_the_limit(self) -> None:
        assert np.unique(sample_users(rated(*((0, i, 3) for i in range(9))), seed=0, limit=5).users).size == 1

    def test_the_scale_stays_that_of_the_whole(self) -> None:
        data = rated((0, 0, 3), (1, 0, 0.5), (2, 0, 4))

        assert data.scale == sample_users(data, seed=0, limit=1).scale

    def test_what_is_within_the_limit_is_left_as_it_is(self) -> None:
        assert sample_users(self.data, seed=0, limit=self.data.n_ratings) is self.data


@pytest.mark.real_data
class TestMovielens100K:
    """`FINDINGS` table R: bias .9412 (u1 .9530), BPMF with 10 factors and 60 sweeps .8998 (.9095)."""

    @staticmethod
    def measure(path: Path, names: set[str]) -> RatingEvaluation:
        data = read_dataset(path)
        folds = tuple(one for one in canonical_folds(data, path) or () if one.name in names)
        return evaluate_ratings(data, folds, about="")

    def test_the_first_fold_reaches_the_figures(self, ml_100k: Path) -> None:
        found = self.measure(ml_100k, {"u1"})
        rmse: dict[str, Any] = {model: metrics["rmse"].value for model, metrics in found.models.items()}

        assert rmse["mean"] == pytest.approx(1.1537, abs=0.0002)
        assert rmse["bias"] == pytest.approx(0.9530, abs=0.0005)
        assert 0.903 <= rmse["bpmf"] <= 0.9125
        assert found.difference["rmse"].high < -0.03

    @pytest.mark.full
    def test_all_five_folds_reach_the_figures(self, ml_100k: Path, full: bool) -> None:
        names = {f"u{n}" for n in range(1, 6)} if full else {"u4"}
        rmse = {model: metrics["rmse"].value for model, metrics in self.measure(ml_100k, names).models.items()}

        assert rmse["bias"] == pytest.approx(0.9412 if full else 0.9362, abs=0.0005)
        assert (0.895 if full else 0.890) <= rmse["bpmf"] <= (0.9015 if full else 0.8985)
