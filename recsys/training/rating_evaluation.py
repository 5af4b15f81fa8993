"""Protocol R (rating prediction): five folds, RMSE and MAE of BPMF, of user and item bias, and of the mean rating.

Owns what is fitted on each fold and how errors become estimates. Must not read files or know how the models work.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.datasets.folds import Fold
from recsys.datasets.ratings import Dataset, Int32
from recsys.models.rating_prediction import fit_bias, predict_bpmf
from recsys.training.evaluation import Evaluation, Progress, no_progress
from recsys.training.metrics import Estimate, Float64

#: A larger data set is measured on a part: five folds of so many take seven minutes on one core.
MAX_RATINGS = 5_000_000
MODELS, METRICS = ("bpmf", "bias", "mean"), ("rmse", "mae")
_RESAMPLES, _INTERVAL = 1000, (0.025, 0.975)


@dataclass(frozen=True)
class RatingEvaluation(Evaluation):
    """`difference` is BPMF minus bias. `folds` says what was measured on; `per_fold` has the metrics of each model for
    each fold by name, without intervals.
    """

    folds: str
    per_fold: dict[str, dict[str, dict[str, float]]]

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "folds": self.folds, "per_fold": self.per_fold}


def sample_users(dataset: Dataset, *, seed: int, limit: int = MAX_RATINGS) -> Dataset:
    """Return `dataset`, or when it has more than `limit` ratings those of users drawn at random, whole, up to `limit`
    (and of one user at least). Cost: O(n).
    """
    if dataset.n_ratings <= limit:
        return dataset
    counts = np.bincount(dataset.users, minlength=dataset.n_users)
    drawn = np.random.Generator(np.random.PCG64(seed)).permutation(np.flatnonzero(counts))
    n_drawn = max(1, int(np.searchsorted(np.cumsum(counts[drawn]), limit, side="right")))
    chosen = np.zeros(dataset.n_users, np.bool_)
    chosen[drawn[:n_drawn]] = True
    return replace(dataset.where(chosen[dataset.users]), given_scale=dataset.scale)


def evaluate_ratings(
    dataset: Dataset, folds: tuple[Fold, ...], *, about: str, seed: int = 0, progress: Progress = no_progress
) -> RatingEvaluation:
    """Protocol R (`FINDINGS` 1): fit on each fold's training part, predict its test part, clip to the scale.

    A metric is the mean of the folds', as in the literature. Its 95 % interval, and that of the paired difference, is
    from 1,000 bootstrap resamples of users, each with all their test ratings of all folds. `about` describes the folds.
    Cost: that of `predict_bpmf` for each fold, and O(resamples · n_users).
    """
    # Numbered without gaps: nothing need be fitted for those without any rating.
    users = np.unique(dataset.users, return_inverse=True)[1].astype(np.int32)
    items = np.unique(dataset.items, return_inverse=True)[1].astype(np.int32)
    #: Of each user, model and fold: how many test ratings, the sum of squared errors, and of absolute ones.
    sums = np.zeros((int(users.max()) + 1, len(MODELS), len(folds), 3))
    for number, fold in enumerate(folds):

        def tell(share: float, number: int = number, name: str = fold.name) -> None:
            progress(f"fold {name}", (number + share) / len(folds))

        truth = dataset.values[fold.test].astype(np.float64)
        for model, predicted in enumerate(_predictions(dataset, users, items, fold, seed, tell)):
            missed = np.abs(np.clip(predicted, dataset.scale.low, dataset.scale.high) - truth)
            for column, weights in enumerate((np.ones_like(missed), missed**2, missed)):
                sums[:, model, number, column] = np.bincount(users[fold.test], weights, minlength=len(sums))
    sums = sums[sums[..., 0].any(axis=(1, 2))]
    progress("intervals", 1.0)
    of_folds = _metrics(sums.sum(axis=0))
    values, resampled = of_folds.mean(axis=1), _resampled(sums)
    return RatingEvaluation(
        protocol="ratings",
        headline="rmse",
        n_questions=len(sums),
        models={model: _estimates(values[m], resampled[:, m]) for m, model in enumerate(MODELS)},
        difference=_estimates(values[0] - values[1], resampled[:, 0] - resampled[:, 1]),
        folds=about,
        per_fold={
            fold.name: {
                model: dict(zip(METRICS, of_folds[m, f].tolist(), strict=True)) for m, model in enumerate(MODELS)
            }
            for f, fold in enumerate(folds)
        },
    )


def _predictions(
    dataset: Dataset, users: Int32, items: Int32, fold: Fold, seed: int, tell: Callable[[float], None]
) -> tuple[Float64, ...]:
    """Predict the fold's test ratings, float64 [n_test], by each of MODELS."""
    train, test = fold.train, fold.test
    known = (users[train], items[train], dataset.values[train])
    n_users, n_items = int(users.max()) + 1, int(items.max()) + 1
    bias = fit_bias(*known, n_users=n_users, n_items=n_items)
    bpmf = predict_bpmf(*known, users[test], items[test], n_users=n_users, n_items=n_items, seed=seed, progress=tell)
    return bpmf, bias.predict(users[test], items[test]), np.full(test.size, bias.mean)


def _metrics(sums: Float64) -> Float64:
    """RMSE and MAE (float64 [..., 2]) of count, squared and absolute errors [..., 3]; NaN where there are none."""
    with np.errstate(invalid="ignore"):
        means = sums[..., 1:] / sums[..., :1]
    means[..., 0] = np.sqrt(means[..., 0])
    return means


def _resampled(sums: Float64) -> Float64:
    """The metrics of resampled users, float64 [resamples, n_models, 2]; a fold that a resample misses is left out.

    `sums` is [n_users, n_models, n_folds, 3].
    """
    rng = np.random.Generator(np.random.PCG64(0))
    n = len(sums)
    flat = sums.reshape(n, -1)
    drawn = np.stack([np.bincount(rng.integers(0, n, n), minlength=n) @ flat for _ in range(_RESAMPLES)])
    found: Float64 = np.nanmean(_metrics(drawn.reshape(_RESAMPLES, *sums.shape[1:])), axis=2)
    return found


def _estimates(values: Float64, resampled: Float64) -> dict[str, Estimate]:
    low, high = np.quantile(resampled, _INTERVAL, axis=0)
    return {name: Estimate(float(values[i]), float(low[i]), float(high[i])) for i, name in enumerate(METRICS)}
