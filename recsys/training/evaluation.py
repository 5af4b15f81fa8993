"""Protocols T (temporal) and S (strong generalization): fit on a part, rank the whole catalogue, compare with the rest.

Every list comes from `Recommender`, the ranking that serving uses. Must not know versions or files.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.datasets.ratings import LIKED_STARS, Dataset, Float32, Int32
from recsys.datasets.split import split_strong, split_temporal
from recsys.errors import DataError
from recsys.models.recommend import History, Recommender
from recsys.models.weighting import Weighting
from recsys.training.fit import fit
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.metrics import (
    Estimate,
    Float64,
    gains,
    mean_with_interval,
    ndcg,
    recall,
    share_with_interval,
)

Progress = Callable[[str, float], None]


def no_progress(stage: str, share: float) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Question:
    """One user to be asked about: the history given, and the `relevant` items (int32) that a good list holds."""

    history: History
    relevant: Int32


@dataclass(frozen=True)
class PerUser:
    """Metrics of each question, float64 [n_questions] by name, and which items were recommended at all (bool
    [n_items]).
    """

    values: dict[str, Float64]
    recommended: NDArray[np.bool_]

    def summary(self, coverage_name: str) -> dict[str, Estimate]:
        found = {name: mean_with_interval(values) for name, values in self.values.items()}
        found[coverage_name] = share_with_interval(int(self.recommended.sum()), self.recommended.size)
        return found


@dataclass(frozen=True)
class Evaluation:
    """`models`: metric → estimate for each model. `difference`: the model minus popularity, paired by user.

    `headline` names the metric that decides.
    """

    protocol: str
    headline: str
    n_questions: int
    models: dict[str, dict[str, Estimate]]
    difference: dict[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        def plain(estimates: dict[str, Estimate]) -> dict[str, Any]:
            return {name: vars(estimate) for name, estimate in estimates.items()}

        return {
            "protocol": self.protocol,
            "headline": self.headline,
            "users": self.n_questions,
            "models": {model: plain(estimates) for model, estimates in self.models.items()},
            "difference": plain(self.difference),
        }


def temporal_questions(dataset: Dataset) -> tuple[Dataset, list[Question]]:
    """Return the training part of protocol T and one question for each user with a relevant test item (≥ 4 stars)."""
    split = split_temporal(dataset)
    train, test = split.train, split.test
    asked = np.searchsorted(dataset.users[train], np.arange(dataset.n_users + 1))
    wanted = np.searchsorted(dataset.users[test], np.arange(dataset.n_users + 1))
    questions = []
    for user in range(dataset.n_users):
        rows = test[wanted[user] : wanted[user + 1]]
        relevant = dataset.items[rows][dataset.stars[rows] >= LIKED_STARS]
        if relevant.size:
            known = train[asked[user] : asked[user + 1]]
            history = History(dataset.items[known], dataset.stars[known], dataset.has_timestamps)
            questions.append(Question(history, relevant))
    return dataset.where(np.sort(train)), questions


def measure_temporal(
    recommender: Recommender, questions: list[Question], *, k: int = 10, progress: Progress = no_progress
) -> PerUser:
    """Ask every question for its top `k` and return NDCG, recall, hit rate and novelty of each, with the items
    covered.
    """
    names = (f"ndcg@{k}", f"recall@{k}", f"hitrate@{k}", f"novelty@{k}")
    values = {name: np.zeros(len(questions)) for name in names}
    recommended = np.zeros(recommender.n_items, bool)
    surprise = _self_information(recommender.popularity)
    for i, question in enumerate(questions):
        ranked = recommender.recommend(question.history, k)
        hits = gains(ranked, question.relevant)
        recommended[ranked] = True
        values[names[0]][i] = ndcg(hits, question.relevant.size, k)
        values[names[1]][i] = recall(hits, question.relevant.size, k)
        values[names[2]][i] = hits.any()
        values[names[3]][i] = surprise[ranked].mean() if ranked.size else 0.0
        if i % 100 == 0:
            progress("evaluate", i / len(questions))
    return PerUser(values, recommended)


def _self_information(popularity: Float32) -> Float64:
    """−log₂ of each item's share of users, float64 [n_items]: how surprising a recommendation is, in bits.

    Items nobody liked count as if half as popular as the least liked one. Source: Vargas and Castells, RecSys 2011.
    """
    shares = popularity.astype(np.float64)
    least = shares[shares > 0].min() if np.any(shares > 0) else 1.0
    information: Float64 = -np.log2(np.where(shares > 0, shares, least / 2))
    return information


def evaluate_temporal(dataset: Dataset, parameters: Hyperparameters, *, progress: Progress = no_progress) -> Evaluation:
    """Protocol T (`FINDINGS` 1): per user the last fifth by time is the test, NDCG@10 over the full catalogue.

    Errors: DataError when no user has a relevant test rating.
    """
    train, questions = temporal_questions(dataset)
    if not questions:
        raise DataError("no user has a liked rating among their latest", hint="protocol T needs ratings of ≥ 4 stars")
    progress("fit", 0.0)
    fitted = fit(train, parameters, progress=lambda share: progress("fit", share))
    measured = {
        fitted.algorithm: measure_temporal(fitted.recommender, questions, progress=progress),
        "popularity": measure_temporal(Recommender(fitted.recommender.popularity, None), questions),
    }
    return _compare("temporal", "ndcg@10", "coverage@10", measured)


def evaluate_strong(
    dataset: Dataset,
    parameters: Hyperparameters,
    *,
    seeds: int = 5,
    progress: Progress = no_progress,
) -> Evaluation:
    """Protocol S (`FINDINGS` 1, after Liang et al. 2018): unseen users, liked items only, all weights 1, NDCG@100; the
    test users of `seeds` splits are pooled, and each is compared with popularity on its own split.

    Errors: DataError when too few users have five liked ratings.
    """
    parts: dict[str, list[PerUser]] = {}
    for seed in range(seeds):
        progress("evaluate", seed / seeds)
        split = split_strong(dataset, seed=seed)
        if not split.test or not split.train.size:
            raise DataError("too few users with five liked ratings", hint="protocol S needs at least ten of them")
        fitted = fit(dataset.where(split.train), parameters, weighting=Weighting(graded=False, half_life=None))
        questions = [
            Question(History(user.asked_with, np.full(user.asked_with.size, 5, np.float32), False), user.targets)
            for user in split.test
        ]
        popularity = Recommender(fitted.recommender.popularity, None)
        parts.setdefault(fitted.algorithm, []).append(_measure_strong(fitted.recommender, questions))
        parts.setdefault("popularity", []).append(_measure_strong(popularity, questions))
    return _compare("strong", "ndcg@100", "coverage@100", {name: _pool(found) for name, found in parts.items()})


def _measure_strong(recommender: Recommender, questions: list[Question]) -> PerUser:
    names = ("ndcg@100", "recall@20", "recall@50")
    values = {name: np.zeros(len(questions)) for name in names}
    recommended = np.zeros(recommender.n_items, bool)
    for i, question in enumerate(questions):
        ranked = recommender.recommend(question.history, 100)
        hits = gains(ranked, question.relevant)
        recommended[ranked] = True
        values["ndcg@100"][i] = ndcg(hits, question.relevant.size, 100)
        values["recall@20"][i] = recall(hits, question.relevant.size, 20, cut=True)
        values["recall@50"][i] = recall(hits, question.relevant.size, 50, cut=True)
    return PerUser(values, recommended)


def _pool(parts: list[PerUser]) -> PerUser:
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    return PerUser(values, np.logical_or.reduce([part.recommended for part in parts]))


def _compare(protocol: str, headline: str, coverage_name: str, measured: dict[str, PerUser]) -> Evaluation:
    model, popularity = next(iter(measured.values())), measured["popularity"]
    return Evaluation(
        protocol=protocol,
        headline=headline,
        n_questions=next(iter(model.values.values())).size,
        models={name: per_user.summary(coverage_name) for name, per_user in measured.items()},
        difference={
            name: mean_with_interval(values - popularity.values[name]) for name, values in model.values.items()
        },
    )
