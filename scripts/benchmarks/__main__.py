"""The command: which parts to run on which data, progress on stderr, one table on stdout, and JSON into a file."""

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import bucket, design, image, page, ratings, retrain, routes, start, swap, train
from benchmarks.processes import Processes
from benchmarks.table import render
from benchmarks.world import Row, World, default_data

_PARTS: dict[str, Callable[[World], list[Row]]] = {
    "routes": routes.run,
    "design": design.run,
    "swap": swap.run,
    "ratings": ratings.run,
    "bucket": bucket.run,
    "retrain": retrain.run,
    "page": page.run,
    "image": image.run,
    "start": start.run,
    "train": train.run,
}


def main() -> int:
    arguments = _arguments()
    data = arguments.data.resolve() if arguments.data else default_data()
    load_before = round(os.getloadavg()[0], 2)
    names = [name for name in _PARTS if not arguments.only or name in arguments.only]
    rows: list[Row] = []
    interrupted = False
    # SIGTERM unwinds like Ctrl-C, so that every process that was started is ended
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="recsys-bench-") as directory,
            Processes(Path(directory), data) as processes,
        ):
            world = World(processes, processes.client(), data, arguments.quick)
            world.say(f"data: {data or 'the sample that the project makes'}")
            for name in names:
                rows += _PARTS[name](world)
    except KeyboardInterrupt:
        print("interrupted: what follows was measured before", file=sys.stderr)
        interrupted = True
    about = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": data.name if data else "sample",
        "quick": arguments.quick,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load_average_before": load_before,
    }
    print(render(about, rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"about": about, "rows": [vars(row) for row in rows]}, indent=2) + "\n")
    if interrupted:
        return 130
    return 1 if any(row.met is False for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./scripts/bench",
        description="Measure the service: its routes beside a bare handler, beside the design it replaces, swaps under "
        "load, ratings coming in, a bucket, the viewer's page, the image, start, memory, training. Exits with 1 when a "
        "target is missed.",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    parser.add_argument(
        "--quick", action="store_true", help="some four minutes instead of twenty or more; the numbers are rougher"
    )
    parser.add_argument("--only", nargs="+", choices=_PARTS, metavar="NAME", help=f"only these of {', '.join(_PARTS)}")
    parser.add_argument("--data", type=Path, metavar="PATH", help="ratings to train on, as `recsys train` takes them")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
