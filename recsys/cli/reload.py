"""`recsys serve --reload`: runs the service as a child and starts it anew when the code changes."""

import shlex
import sys
from pathlib import Path

from watchfiles import PythonFilter, run_process

import recsys

_STOP_WITHIN_S = 15


def run_reloading(data: Path | None, host: str | None, port: int | None) -> int:
    """Serve until interrupted; each change of a Python file of the package restarts the child."""
    arguments = [sys.executable, "-m", "recsys", "serve"]
    for option, value in (("--data", data), ("--host", host), ("--port", port)):
        if value is not None:
            arguments += [option, str(value)]
    package = Path(recsys.__file__).parent
    run_process(
        package,
        target=shlex.join(arguments),
        target_type="command",
        watch_filter=PythonFilter(),
        sigint_timeout=_STOP_WITHIN_S,
    )
    return 0
