"""From starting the process to ready, with a model on disk; its memory then and after load; and what it has loaded."""

import time
from pathlib import Path

from benchmarks.client import Job
from benchmarks.routes import warm_up
from benchmarks.world import Row, World, median

_MAX_S = 1.5
_MAX_MB = 110
#: The package to look for: aiobotocore itself is pure Python, but it loads the compiled part of wrapt.
_UNWANTED = {"pandas": "pandas", "scipy": "scipy", "aiobotocore": "wrapt"}


def run(world: World) -> list[Row]:
    models = world.trained()
    seconds, ready_mb, after_mb = [], [], []
    found: set[str] = set()
    for number in range(3 if world.quick else 5):
        world.say(f"start: {number + 1}")
        started = time.perf_counter()
        server = world.processes.recsys(models, ready=False)
        server.wait_ready("/health/ready", every_s=0.005)
        seconds.append(time.perf_counter() - started)
        ready_mb.append(server.rss_mb)
        warm_up(world, server)
        world.client.run(Job(server.port, "all users", 0.5 if world.quick else 2.0))
        after_mb.append(server.rss_mb)
        found |= _mapped(server.process.pid)
        server.stop()
    return [
        Row(
            "start",
            "process start to ready",
            {"median_s": round(median(seconds), 3), "all_s": [round(s, 3) for s in seconds]},
            f"<= {_MAX_S} s",
            median(seconds) <= _MAX_S,
        ),
        Row(
            "start",
            "resident memory",
            {"ready_mb": round(median(ready_mb), 1), "after_load_mb": round(max(after_mb), 1)},
            f"<= {_MAX_MB} MB",
            max(after_mb) <= _MAX_MB,
        ),
        Row(
            "start",
            f"of {', '.join(_UNWANTED)} mapped",
            {"libraries": ", ".join(sorted(found)) or "none"},
            "none",
            not found,
        ),
    ]


def _mapped(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name, package in _UNWANTED.items() if f"site-packages/{package}/" in maps}
