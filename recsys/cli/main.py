"""`recsys`: reads the command line, runs one command, turns an expected failure into one clear line.

Exit status 0 done, 1 refused or failed, 2 wrong usage. Must import nothing heavy: OpenBLAS reads its number of threads
when numpy is loaded, which is after the settings are known.
"""

import argparse
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recsys import __version__
from recsys.errors import RecsysError

_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
#: Where OpenSSL looks for the authorities that it trusts.
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_EPILOG = "Settings come from RECSYS_<SECTION>__<NAME> and config/*.toml; README.md lists them."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    parsed = build_parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed) or 0)
    except RecsysError as error:
        print(f"recsys: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("recsys: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # whoever read our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Describe every command."""
    parser = argparse.ArgumentParser(prog="recsys", description="A movie recommender in one process.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"recsys {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    serve = commands.add_parser(
        "serve", help="run the service", description="Run the service until it is told to stop."
    )
    _data_argument(serve)
    serve.add_argument("--host", help="address to listen on (RECSYS_SERVER__HOST, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 takes a free one (RECSYS_SERVER__PORT, 8000)")
    serve.add_argument("--reload", action="store_true", help="restart when the code changes (for development)")
    serve.set_defaults(run=_serve)

    train = commands.add_parser(
        "train",
        help="train and publish one version",
        description="Train, evaluate, gate and publish one version. A running service picks it up by itself.",
    )
    _data_argument(train)
    train.add_argument("--version", metavar="vX.Y.Z", help="name of the version (default: the next free one)")
    train.add_argument("--models", type=Path, metavar="DIR", help="where versions live (RECSYS_PATHS__MODELS)")
    train.set_defaults(run=_train)

    evaluate = commands.add_parser(
        "evaluate",
        help="measure the model on a data set",
        description="Measure the model beside popularity. temporal: each user's last fifth is the test, NDCG@10. "
        "strong: unseen users, NDCG@100, mean of several splits. ratings: predicted ratings, RMSE and MAE of Bayesian "
        "factorization (bpmf), user and item bias and the mean, over u1–u5 of MovieLens 100K or five random folds.",
    )
    evaluate.add_argument("--data", type=Path, required=True, metavar="PATH", help=_DATA_HELP)
    evaluate.add_argument("--protocol", choices=("temporal", "strong", "ratings"), default="temporal")
    evaluate.add_argument("--seeds", type=int, default=5, help="splits of the strong protocol (5)")
    evaluate.add_argument("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(run=_evaluate)

    _models_commands(commands)
    _ratings_commands(commands)

    token = commands.add_parser(
        "token",
        help="print the admin token",
        description="Print the token of /admin, made at first use, or say which setting holds it.",
    )
    token.set_defaults(run=_token)

    sample = commands.add_parser(
        "sample", help="write the sample data set", description="Write the sample data set as MovieLens CSV files."
    )
    sample.add_argument("directory", type=Path, metavar="DIR")
    sample.set_defaults(run=_sample)
    return parser


_DATA_HELP = "MovieLens directory or zip, or a CSV with a header (RECSYS_DATA__PATH; the sample if not given)"


def _data_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, metavar="PATH", help=_DATA_HELP)


def _models_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    models = commands.add_parser(
        "models",
        help="look at versions, pin, roll back, push, pull",
        description="The versions of the local store, and of the bucket. Works beside a running service, which follows "
        "within a second, or with the next look at the bucket.",
    )
    models.add_argument("--models", type=Path, metavar="DIR", help="where versions live (RECSYS_PATHS__MODELS)")
    actions = models.add_subparsers(title="actions", required=True, metavar="ACTION")
    for name, takes_version, text in (
        ("list", False, "every version with its verdict"),
        ("show", True, "a version's manifest"),
        ("verify", True, "read every byte and ask the golden queries"),
        ("pin", True, "serve this version until the pin is lifted"),
        ("unpin", False, "lift the pin"),
        ("rollback", False, "pin the highest accepted version below the one served"),
        ("push", True, "send a version to the bucket"),
        ("pull", True, "fetch a version from the bucket"),
        ("promote", True, "make a version of the bucket the one that all services serve"),
    ):
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if takes_version:
            action.add_argument("version", metavar="vX.Y.Z")
        if name in ("list", "show"):
            action.add_argument("--json", action="store_true", help="print JSON")
        if name in ("list", "rollback"):
            action.add_argument("--remote", action="store_true", help="in the bucket, for all services")
        action.set_defaults(run=_models, action=name)


def _ratings_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    ratings = commands.add_parser(
        "ratings",
        help="what people rated, as CSV, out and in",
        description="What the service was told, as CSV. Works beside a running service, which follows within a second.",
    )
    actions = ratings.add_subparsers(title="actions", required=True, metavar="ACTION")
    export = actions.add_parser(
        "export",
        help="write the ratings that count to a CSV file",
        description="Write what people rated and did not take back as user_id,item_id,rating,timestamp. The file is "
        "replaced when all is written, and only its owner may read it.",
        epilog=_BACKUP,
    )
    export.add_argument("file", metavar="FILE", help="- writes to standard output")
    export.set_defaults(run=_export)
    import_ = actions.add_parser(
        "import",
        help="add the ratings of a CSV file",
        description="Add the ratings that are not there yet. Importing a file again changes nothing, and completes "
        "what was interrupted. The first line names the columns: user, item, rating, optionally timestamp, in the "
        "usual spellings. The whole file is checked before any of it is added: it is refused if more rows are bad "
        "than RECSYS_DATA__MAX_BAD_SHARE. Ratings of items that neither the newest model nor the service knows, and of "
        "users who were forgotten, are left out.",
        epilog=_BACKUP,
    )
    import_.add_argument("file", type=Path, metavar="FILE")
    import_.add_argument("--strict", action="store_true", help="refuse a file with any bad row or unknown item")
    import_.set_defaults(run=_import)


_BACKUP = (
    "What was taken back of the data files, who was forgotten, and what was said of films is not in a CSV file: it is "
    "in feedback.sqlite in the state directory. A copy of that, made with sqlite3's .backup, is the backup."
)


def _serve(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({"data": {"path": parsed.data}, "server": {"host": parsed.host, "port": parsed.port}})
    _cap_blas_threads(1)
    if parsed.reload:
        from recsys.cli.reload import run_reloading

        return run_reloading(parsed.data, parsed.host, parsed.port)
    gc.disable()  # what is imported stays; `collect_by_the_clock` takes over
    with _no_certificates():
        from recsys.cli.serve import run

    return run(settings)


def _train(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({"data": {"path": parsed.data}, "paths": {"models": parsed.models}})
    _cap_blas_threads(settings.training.blas_threads)
    from recsys.cli.train import run

    return run(settings, parsed.version)


def _evaluate(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({"data": {"path": parsed.data}})
    _cap_blas_threads(settings.training.blas_threads)
    from recsys.cli.evaluate import run

    return run(settings, protocol=parsed.protocol, seeds=parsed.seeds, as_json=parsed.json)


def _models(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({"paths": {"models": parsed.models}})
    _cap_blas_threads(1)
    version, as_json = getattr(parsed, "version", None), getattr(parsed, "json", False)
    if parsed.action in ("push", "pull", "promote") or getattr(parsed, "remote", False):
        from recsys.cli import remote

        return remote.run(settings, parsed.action, version, as_json=as_json)
    from recsys.cli import models

    return models.run(settings, parsed.action, version, as_json=as_json)


def _export(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({})
    _cap_blas_threads(1)
    from recsys.cli.ratings import export_ratings

    return export_ratings(settings, parsed.file)


def _import(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings

    settings = read_settings({})
    _cap_blas_threads(1)
    from recsys.cli.ratings import import_file

    return import_file(settings, parsed.file, strict=parsed.strict)


def _token(parsed: argparse.Namespace) -> int:
    from recsys.cli.settings import read_settings
    from recsys.web.auth import read_token, token_place

    settings = read_settings({})
    if settings.admin.token is not None or settings.admin.token_file is not None:
        print(f"the token is in {token_place(settings)}")
    else:
        print(read_token(settings))
    return 0


def _sample(parsed: argparse.Namespace) -> int:
    from recsys.datasets.sample_files import write_sample

    print(f"the sample data set is in {write_sample(parsed.directory)}")
    return 0


def _cap_blas_threads(n: int) -> None:
    """Scoring one user is too small to share, and training is reproducible with one thread."""
    for variable in _BLAS_VARIABLES:
        os.environ.setdefault(variable, str(n))


@contextmanager
def _no_certificates() -> Iterator[None]:
    """Have OpenSSL find no authorities while aiohttp is imported.

    Its client reads all of the machine's then, for a tenth of the whole start, and nobody here uses it as it is: the
    client of a bucket reads those that it needs. What does use it would trust nobody, and be refused.
    """
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
