"""`recsys evaluate`: models beside each other on a data set, as a table or as JSON."""

from collections.abc import Iterable
from pathlib import Path

import orjson

from recsys.cli.logs import configure_logging
from recsys.cli.progress import show_progress
from recsys.datasets.folds import canonical_folds, random_folds
from recsys.datasets.ratings import Dataset
from recsys.datasets.reading import read_dataset
from recsys.errors import InvalidInputError
from recsys.settings import Settings
from recsys.training.evaluation import Evaluation, Progress, evaluate_strong, evaluate_temporal
from recsys.training.plan import plan_from
from recsys.training.rating_evaluation import RatingEvaluation, evaluate_ratings, sample_users


def run(settings: Settings, *, protocol: str, seeds: int, as_json: bool) -> int:
    """Measure and print. Errors: DataError, InvalidInputError."""
    if not 1 <= seeds <= 100:
        raise InvalidInputError("--seeds takes a number from 1 to 100")
    assert settings.data.path is not None
    configure_logging(settings.log.level, settings.log_format)
    parameters = plan_from(settings).parameters
    with show_progress(f"evaluating ({protocol})") as progress:
        dataset = read_dataset(settings.data.path, max_bad_share=settings.data.max_bad_share, progress=progress)
        if protocol == "temporal":
            evaluation = evaluate_temporal(dataset, parameters, progress=progress)
        elif protocol == "ratings":
            evaluation = _ratings(settings, settings.data.path, dataset, progress)
        else:
            evaluation = evaluate_strong(dataset, parameters, seeds=seeds, progress=progress)
    if as_json:
        size = {
            "path": dataset.source,
            "ratings": dataset.n_ratings,
            "users": dataset.n_users,
            "items": dataset.n_items,
        }
        print(orjson.dumps({"data": size, **evaluation.as_dict()}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(table(evaluation))
    return 0


def _ratings(settings: Settings, path: Path, dataset: Dataset, progress: Progress) -> RatingEvaluation:
    """Protocol R on the folds that come with the data, else on random ones of as many users as is bearable."""
    seed = settings.training.seed
    folds = canonical_folds(dataset, path, max_bad_share=settings.data.max_bad_share)
    if folds is not None:
        about = f"the data set's own folds {folds[0].name}–{folds[-1].name}"
        return evaluate_ratings(dataset, folds, about=about, seed=seed, progress=progress)
    part = sample_users(dataset, seed=seed)
    folds = random_folds(part, seed=seed)
    about = f"{len(folds)} random folds"
    if part.n_ratings < dataset.n_ratings:
        about += f" of {part.n_ratings:,} ratings, those of users drawn at random"
    return evaluate_ratings(part, folds, about=about, seed=seed, progress=progress)


def table(evaluation: Evaluation) -> str:
    """Metrics as rows, models as columns, each with its 95 % interval, and the paired difference of the first two."""
    # Data too small for the model has popularity alone, beside itself.
    first, second = (*evaluation.models, *evaluation.models)[:2]
    columns = {**evaluation.models, f"{first} − {second}": evaluation.difference}
    names = list(evaluation.models[first])
    width = max(len("0.0000 [0.0000, 0.0000]"), *(len(column) for column in columns))
    folds = f", {evaluation.folds}" if isinstance(evaluation, RatingEvaluation) else ""
    lines = [f"{evaluation.protocol}, {evaluation.n_questions} users{folds}", ""]
    lines.append(_row("metric", columns, width))
    lines += [
        _row(name, [str(values[name]) if name in values else "" for values in columns.values()], width)
        for name in names
    ]
    if isinstance(evaluation, RatingEvaluation):
        lines += [
            _row(f"rmse, fold {fold}", [f"{values['rmse']:.4f}" for values in found.values()], width)
            for fold, found in evaluation.per_fold.items()
        ]
    return "\n".join(lines)


def _row(name: str, cells: Iterable[str], width: int) -> str:
    return " ".join([name.ljust(13), *(cell.ljust(width) for cell in cells)]).rstrip()
