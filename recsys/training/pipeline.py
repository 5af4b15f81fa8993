"""One training run, from a data set to a published version: evaluate → gate → refit on everything → stage → publish.

Runs in the training process or the command line. Only publishes into the store: what is served is the watcher's
business.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version as library_version

import numpy as np

from recsys import __version__
from recsys.artifacts.contents import Contents, ModelDescription, encode
from recsys.artifacts.files import write_durable
from recsys.artifacts.manifest import DataSummary, FileRecord, Gate, GoldenQuery, Manifest
from recsys.artifacts.servable import make_golden
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.datasets.ratings import Dataset, ReadReport, freeze
from recsys.errors import DataError, VersionTakenError
from recsys.training.evaluation import Evaluation, Progress, evaluate_temporal, no_progress
from recsys.training.feedback import Learned, with_feedback
from recsys.training.fit import Fitted, fit
from recsys.training.gate import Comparison, Standing, judge
from recsys.training.hyperparameters import Hyperparameters
from recsys.training.incumbent import COVERAGE, HEADLINE, compare, find_incumbent, standing_of
from recsys.training.memory import estimate_bytes, refuse_beyond
from recsys.training.plan import TrainingPlan
from recsys.training.top_lists import make_top_lists

_LIBRARIES = ("numpy", "scipy", "pandas")
#: Where each stage begins on the way from 0 to 1; measured on ml-100k and good enough for a progress bar.
_STAGES = {"read": 0.0, "fit": 0.2, "evaluate": 0.45, "refit": 0.6, "publish": 0.85}


@dataclass(frozen=True)
class TrainingResult:
    """The published version's manifest, the evaluation it rests on (None when the data is too small for one), and what
    reading the data found.
    """

    manifest: Manifest
    evaluation: Evaluation | None
    report: ReadReport


def train(
    plan: TrainingPlan,
    *,
    now: Callable[[], datetime],
    progress: Progress = no_progress,
) -> TrainingResult:
    """Carry a plan out and return what was published, accepted or rejected.

    Errors: DataError, TrainingError, StoreError, VersionTakenError; after any of them nothing new is visible.
    """
    store = ModelStore(plan.models)
    store.ensure()
    if plan.version is not None:
        _refuse_if_taken(store, plan.version)

    def report(stage: str, share: float) -> None:
        starts = list(_STAGES.values())
        start = _STAGES[stage]
        end = starts[starts.index(start) + 1] if start != starts[-1] else 1.0
        progress(stage, start + (end - start) * share)

    learned = with_feedback(read_source(plan, progress=lambda share: report("read", share)), plan.state)
    dataset = learned.dataset
    refuse_beyond(plan.memory_limit_mb, _estimate(dataset, plan))
    evaluation = _evaluate(dataset, plan.parameters, report)
    report("refit", 0.0)
    arranged = arrange(dataset)
    fitted = fit(arranged, plan.parameters, progress=lambda share: report("refit", share))
    contents = assemble(arranged, fitted)
    incumbent = find_incumbent(store)
    gate = _judge(plan, dataset, contents, evaluation, incumbent)
    report("publish", 0.0)
    contents = replace(contents, top_lists=make_top_lists(contents, progress=lambda share: report("publish", share)))
    golden = make_golden(contents)

    def describe(version: Version, files: tuple[FileRecord, ...]) -> Manifest:
        parent = incumbent.version if incumbent else None
        return _describe(plan, learned, contents, evaluation, gate, golden, files, version, now(), parent)

    with store.stage() as staged:
        for name, content in encode(contents):
            write_durable(staged / name, content)
        manifest = store.publish(staged, plan.version, describe, taken=plan.taken)
    report("publish", 1.0)
    return TrainingResult(manifest, evaluation, dataset.report)


def read_source(plan: TrainingPlan, *, progress: Callable[[float], None]) -> Dataset:
    """Read the operator's data, or the sample, which is made if it is not there."""
    from recsys.datasets.reading import read_dataset
    from recsys.datasets.sample_files import write_sample

    path = plan.data if plan.data is not None else write_sample(plan.sample)
    dataset = read_dataset(path, max_bad_share=plan.max_bad_share, progress=lambda _stage, share: progress(share))
    if dataset.n_ratings == 0:
        raise DataError(f"{path} holds no rating")
    return dataset


def arrange(dataset: Dataset) -> Dataset:
    """Order the items by number of ratings, most first, ties as they were: the modelled ones are then the first.

    Cost: O(n_ratings + n_items log n_items).
    """
    counts = np.bincount(dataset.items, minlength=dataset.n_items)
    order = np.argsort(-counts, kind="stable")
    position = np.empty(dataset.n_items, np.int32)
    position[order] = np.arange(dataset.n_items, dtype=np.int32)
    return replace(dataset, catalogue=dataset.catalogue.take(order), items=position[dataset.items])


def assemble(dataset: Dataset, fitted: Fitted) -> Contents:
    """Put a fitted model and the histories it will be asked with into the form that is stored."""
    rows = dataset.in_history_order()
    indptr = np.searchsorted(dataset.users[rows], np.arange(dataset.n_users + 1)).astype(np.int64)
    weighting, scale = fitted.recommender.weighting, dataset.scale
    description = ModelDescription.model_validate(
        {
            "algorithm": fitted.algorithm,
            "graded": weighting.graded,
            "half_life": weighting.half_life,
            "min_half_life": weighting.min_half_life,
            "scale_low": scale.low,
            "scale_high": scale.high,
            "scale_step": scale.step,
            "has_timestamps": dataset.has_timestamps,
        }
    )
    counts = np.bincount(dataset.items, minlength=dataset.n_items).astype(np.int32)
    return Contents(
        description=description,
        catalogue=dataset.catalogue,
        user_ids=dataset.user_ids,
        rating_counts=freeze(counts),
        popularity=fitted.recommender.popularity,
        history_indptr=freeze(indptr),
        history_items=freeze(dataset.items[rows]),
        history_values=freeze(dataset.values[rows]),
        history_timestamps=freeze(dataset.timestamps[rows]),
        item_item=fitted.recommender.item_item,
        row_norms=fitted.linear.row_norms if fitted.linear else None,
        column_norms=fitted.linear.column_norms if fitted.linear else None,
    )


def _refuse_if_taken(store: ModelStore, version: Version) -> None:
    """Before the work, not after it; `publish` looks again under its lock."""
    if store.scan().find(version) is not None:
        raise VersionTakenError(f"{version} exists in {store.directory}", hint="choose another name")


def _evaluate(dataset: Dataset, parameters: Hyperparameters, progress: Progress) -> Evaluation | None:
    try:
        return evaluate_temporal(dataset, parameters, progress=progress)
    except DataError:
        return None  # too small to hold anything out: the model is popularity, and the gate judges the data alone


def _estimate(dataset: Dataset, plan: TrainingPlan) -> int:
    max_items = plan.parameters.max_items
    return estimate_bytes(dataset.n_users, dataset.n_items, dataset.n_ratings, max_items=max_items)


def _judge(
    plan: TrainingPlan, dataset: Dataset, contents: Contents, evaluation: Evaluation | None, incumbent: Manifest | None
) -> Gate:
    candidate = _standing(contents, dataset, evaluation, plan.source)
    if incumbent is None or incumbent.data.source != plan.source:
        return judge(candidate, None, plan.limits)
    comparison = compare(incumbent, dataset, contents, plan.parameters) if evaluation else Comparison()
    return judge(candidate, standing_of(incumbent), plan.limits, comparison)


def _standing(contents: Contents, dataset: Dataset, evaluation: Evaluation | None, source: str) -> Standing:
    model = evaluation.models.get(contents.description.algorithm) if evaluation else None
    linear = model is not None and contents.description.algorithm != "popularity"
    return Standing(
        source=source,
        headline=model[HEADLINE].value if model and linear else None,
        popularity=evaluation.models["popularity"][HEADLINE].value if evaluation and linear else None,
        coverage=model[COVERAGE].value if model and linear else None,
        n_ratings=dataset.n_ratings,
        n_users=dataset.n_users,
        n_items=dataset.n_items,
        finite=_is_finite(contents),
        rating_shares=_rating_shares(dataset),
    )


def _is_finite(contents: Contents) -> bool:
    arrays = [contents.popularity, contents.history_values]
    if contents.item_item is not None:
        arrays.append(contents.item_item.values)
    return all(bool(np.isfinite(array).all()) for array in arrays)


def _rating_shares(dataset: Dataset) -> dict[str, float]:
    """The share of ratings that each value has; on a fine scale, each whole number."""
    values = dataset.values if dataset.scale.step >= 0.5 else np.round(dataset.values)
    found, counts = np.unique(values, return_counts=True)
    return {f"{value:g}": round(int(count) / dataset.n_ratings, 6) for value, count in zip(found, counts, strict=True)}


def _describe(
    plan: TrainingPlan,
    learned: Learned,
    contents: Contents,
    evaluation: Evaluation | None,
    gate: Gate,
    golden: tuple[GoldenQuery, ...],
    files: tuple[FileRecord, ...],
    version: Version,
    moment: datetime,
    parent: str | None,
) -> Manifest:
    dataset = learned.dataset
    libraries = {"python": platform.python_version(), "recsys": __version__}
    libraries |= {name: library_version(name) for name in _LIBRARIES}
    return Manifest(
        version=str(version),
        parent=parent,
        created_at=moment,
        algorithm=contents.description.algorithm,
        hyperparameters=asdict(plan.parameters),
        seed=plan.seed,
        libraries=libraries,
        data=DataSummary(
            source=plan.source,
            fingerprint=dataset.fingerprint,
            ratings=dataset.n_ratings,
            users=dataset.n_users,
            items=dataset.n_items,
            rating_shares=_rating_shares(dataset),
            feedback_cutoff=learned.cutoff,
        ),
        metrics=evaluation.as_dict() if evaluation else {},
        gate=gate,
        golden=golden,
        files=files,
    )
