"""A service in little for `test_orphan`: one training run whose child keeps the GIL, as LAPACK does for long.

Run as a program: `gil_holder.py STATE_DIRECTORY`. Prints the pid of the child once it holds the GIL.
"""

import asyncio
import ctypes
import os
import sys
from pathlib import Path

from recsys.jobs.ledger import Ledger
from recsys.jobs.retrain import Retrainer, RunLimits
from recsys.jobs.turns import alone
from recsys.training.plan import TrainingPlan
from recsys.training.worker import Finished

HELD_S = 30


def hold_the_gil(plan: TrainingPlan) -> Finished:
    print(os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(HELD_S)
    return Finished("v1.0.0", True, [], {})


async def run(state: Path) -> None:
    plan = TrainingPlan(models=state, sample=state)
    retrainer = Retrainer(alone(lambda: plan), Ledger(state), RunLimits(60, 4096, 1), work=hold_the_gil)
    await retrainer.open()
    retrainer.ask("a test asked")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
