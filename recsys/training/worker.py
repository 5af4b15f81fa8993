"""The training process: what runs in the child, and how it behaves towards its parent.

A child of low priority, with capped linear-algebra threads, that says its pid at once and ends itself when its parent
is gone. This module must import nothing heavy: `prepare` runs before numpy may be loaded, since OpenBLAS reads its
number of threads only then.
"""

import contextlib
import ctypes
import os
import resource
import signal
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from recsys.training.plan import TrainingPlan

_NICENESS = 10
_ORPHANED = 3
#: The kernel ends the child with its parent, also while LAPACK holds the GIL for most of a minute and no thread of ours
#: can run (scipy's `spotri` does); the watching thread is for a parent that died before this was set.
_PR_SET_PDEATHSIG = 1
_BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_to_parent: "Connection | None" = None


@dataclass(frozen=True)
class Progress:
    """How far a run is: `stage` by name, `share` of the whole from 0 to 1."""

    stage: str
    share: float


@dataclass(frozen=True)
class Started:
    """The child lives, under this process id."""

    pid: int


@dataclass(frozen=True)
class Finished:
    """What a run that came to its end made."""

    version: str
    accepted: bool
    checks: list[dict[str, Any]]
    metrics: dict[str, Any]


def prepare(to_parent: "Connection", blas_threads: int, memory_limit_mb: int, *, behind_the_server: bool) -> None:
    """Set the child up. Runs first, before anything that loads numpy.

    `behind_the_server`: it works when nobody else wants to. The memory limit counts from what is mapped once the
    libraries are loaded: they map far more than they use.
    """
    global _to_parent  # noqa: PLW0603  the one thing a pool initializer can hand to the task
    for variable in _BLAS_VARIABLES:
        os.environ[variable] = str(blas_threads)
    _to_parent = to_parent
    to_parent.send(Started(os.getpid()))
    if behind_the_server:
        stay_behind()
    # should a container's memory run out, the kernel takes this process and not the server
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    _load_libraries()
    _limit_memory(memory_limit_mb)


def stay_behind() -> None:
    """Work when nobody else wants to. Where system calls are filtered, or unknown, this process is only nice."""
    os.nice(_NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        # a nice process still takes its turns from the server; one of this class does not
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _load_libraries() -> None:
    import pandas  # noqa: F401
    import scipy.linalg
    import scipy.sparse  # noqa: F401


def _limit_memory(limit_mb: int) -> None:
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    limit = mapped + limit_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(_ORPHANED)


def run(plan: "TrainingPlan") -> Finished:
    """Carry a plan out, telling the parent how far it is. Errors are the pipeline's; they travel through the pool."""
    from recsys.training.pipeline import train

    def tell(stage: str, share: float) -> None:
        if _to_parent is not None:
            _to_parent.send(Progress(stage, share))

    result = train(plan, now=lambda: datetime.now(UTC), progress=_throttled(tell))
    gate = result.manifest.gate
    return Finished(
        result.manifest.version,
        result.manifest.accepted,
        [check.model_dump() for check in gate.checks],
        result.manifest.metrics,
    )


def _throttled(tell: Any) -> Any:
    """Pass on a change of stage or of a whole percent, so that a parent that is slow to read never blocks the work."""
    last: tuple[str, int] | None = None

    def passed_on(stage: str, share: float) -> None:
        nonlocal last
        now = (stage, int(share * 100))
        if now != last:
            last = now
            tell(stage, share)

    return passed_on
