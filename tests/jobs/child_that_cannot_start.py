"""Work whose module cannot be imported in a child: the process dies before its work begins."""

import multiprocessing
import os

from recsys.training import worker
from recsys.training.plan import TrainingPlan

if multiprocessing.parent_process() is not None:
    os._exit(9)


def never(plan: TrainingPlan) -> worker.Finished:
    raise AssertionError("unreachable")
