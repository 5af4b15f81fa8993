"""`recsys evaluate`: the model beside popularity on a data set, as a table or as JSON."""

import orjson

from recsys.cli.logs import configure_logging
from recsys.cli.progress import show_progress
from recsys.datasets.reading import read_dataset
from recsys.errors import InvalidInputError
from recsys.settings import Settings
from recsys.training.evaluation import Evaluation, evaluate_strong, evaluate_temporal
from recsys.training.plan import plan_from


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


def table(evaluation: Evaluation) -> str:
    """Metrics as rows, models as columns, each with its 95 % interval, and the paired difference."""
    columns = {**evaluation.models, f"{next(iter(evaluation.models))} − popularity": evaluation.difference}
    names = list(next(iter(evaluation.models.values())))
    width = max(len("0.0000 [0.0000, 0.0000]"), *(len(column) for column in columns))
    lines = [f"{evaluation.protocol}, {evaluation.n_questions} users", ""]
    lines.append(" ".join(["metric".ljust(13), *(column.ljust(width) for column in columns)]).rstrip())
    for name in names:
        cells = [str(values[name]) if name in values else "" for values in columns.values()]
        lines.append(" ".join([name.ljust(13), *(cell.ljust(width) for cell in cells)]).rstrip())
    return "\n".join(lines)
