"""What a training child may do to its parent, as work to hand to a `Retrainer`: good, bad and rude.

A module of its own because the child is spawned: it imports its work by name.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

from recsys.errors import TrainingError
from recsys.training import worker
from recsys.training.plan import TrainingPlan

ACCEPTED = worker.Finished("v1.0.0", True, [{"name": "finite", "passed": True}], {"users": 3})


def _leave_pid(plan: TrainingPlan) -> None:
    """Say who we are where the test can read it: the plan's models directory stands for that."""
    plan.models.mkdir(parents=True, exist_ok=True)
    partial = plan.models / "pid.part"
    partial.write_text(str(os.getpid()))
    partial.rename(plan.models / "pid")


def _tell(stage: str, share: float) -> None:
    assert worker._to_parent is not None
    worker._to_parent.send(worker.Progress(stage, share))


def accept(plan: TrainingPlan) -> worker.Finished:
    return ACCEPTED


def reject(plan: TrainingPlan) -> worker.Finished:
    checks = [{"name": "finite", "passed": True}, {"name": "ratings_not_shrunk", "passed": False}]
    return worker.Finished("v1.0.1", False, checks, {})


def tell_and_accept(plan: TrainingPlan) -> worker.Finished:
    for stage, share in (("read", 0.0), ("read", 0.1), ("fit", 0.2), ("evaluate", 0.5), ("publish", 1.0)):
        _tell(stage, share)
    return ACCEPTED


def hang(plan: TrainingPlan) -> NoReturn:
    """Hang without end, and without the interpreter's help: as a stuck read or a long LAPACK call does."""
    _leave_pid(plan)
    while True:
        time.sleep(60)


def spin(plan: TrainingPlan) -> NoReturn:
    """Never leave Python and never let a signal handler of the library matter: busy to the end."""
    _leave_pid(plan)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        pass


def be_killed(plan: TrainingPlan) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def crash(plan: TrainingPlan) -> NoReturn:
    """What a segmentation fault in a library looks like from outside."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("unreachable")


def leave(plan: TrainingPlan) -> NoReturn:
    sys.exit(7)


def interrupt(plan: TrainingPlan) -> NoReturn:
    raise KeyboardInterrupt


def stop_iteration(plan: TrainingPlan) -> NoReturn:
    raise StopIteration


def time_out(plan: TrainingPlan) -> NoReturn:
    raise TimeoutError("a file server did not answer")


def raise_expected(plan: TrainingPlan) -> NoReturn:
    raise TrainingError("the matrix is not positive definite", hint="raise the ridge")


def raise_foreign(plan: TrainingPlan) -> NoReturn:
    raise KeyError("movieId")


class UnpicklableError(Exception):
    """Cannot be sent: it holds a lock."""

    def __init__(self) -> None:
        super().__init__("with a lock inside", threading.Lock())


class UnreadableError(Exception):
    """Can be sent but not received: its arguments are not those it is made of."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def raise_unpicklable(plan: TrainingPlan) -> NoReturn:
    raise UnpicklableError


def raise_unreadable(plan: TrainingPlan) -> NoReturn:
    raise UnreadableError("one", "two")


def return_text(plan: TrainingPlan) -> Any:
    return "v1.0.0"


def return_nothing(plan: TrainingPlan) -> Any:
    return None


def return_unpicklable(plan: TrainingPlan) -> Any:
    return threading.Lock()


def return_nameless_checks(plan: TrainingPlan) -> worker.Finished:
    return worker.Finished("v1.0.0", False, [{"nonsense": 1}], {})


def return_unwritable_metrics(plan: TrainingPlan) -> worker.Finished:
    return worker.Finished("v1.0.0", True, [], {"ndcg": {1, 2}})


def send_rubbish(plan: TrainingPlan) -> worker.Finished:
    """Put into the progress pipe what is no progress."""
    assert worker._to_parent is not None
    worker._to_parent.send("half way")
    worker._to_parent.send_bytes(b"not a pickle")
    return ACCEPTED


def allocate(plan: TrainingPlan) -> NoReturn:
    """Take memory without end, in pieces that are really written to. The bound is the test's, should the limit fail."""
    import numpy as np

    taken = [np.ones(2**22) for _ in range(64)]
    raise AssertionError(f"took {len(taken) * 32} MB and nobody minded")


def allocate_at_once(plan: TrainingPlan) -> NoReturn:
    import numpy as np

    taken = np.ones(2**28)
    raise AssertionError(f"took {taken.nbytes} bytes and nobody minded")


def describe_self(plan: TrainingPlan) -> worker.Finished:
    """Tell what `worker.prepare` has made of the process."""
    import numpy as np

    np.ones((200, 200)) @ np.ones((200, 200))
    status = Path("/proc/self/status").read_text()
    threads = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("Threads:"))
    blas = {name: os.environ.get(name) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    priority = {"niceness": os.nice(0), "class": os.sched_getscheduler(0)}
    return worker.Finished("v1.0.0", True, [], {"pid": os.getpid(), "blas": blas, "threads": threads, **priority})
