"""Eight services, one bucket, fifty retrainings: one trainer at a time, each version once, all agree in the end.

Time is turned by the test; the bucket fails at random, before and after it has done what was asked.
"""

import asyncio
import random
import time
from datetime import timedelta
from pathlib import Path

import pytest
from memory_bucket import MemoryObjects
from replicas import Clock, Replica, make_replica

from recsys.artifacts.pointer import KEY
from recsys.artifacts.version import Version
from recsys.errors import BucketError
from recsys.jobs.ledger import Job

N_REPLICAS = 8


class Trainers:
    """Counts who trains at the same time."""

    def __init__(self) -> None:
        self.now, self.most = 0, 0

    async def train(self, replica: Replica, job: Job, seconds: float, clock: Clock) -> str:
        async def during() -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await clock.sleep(seconds)
            finally:
                self.now -= 1

        event = asyncio.Event()
        event.wait = during  # type: ignore[assignment,method-assign]
        return await replica.train(job, event)


@pytest.mark.full
@pytest.mark.parametrize("fault_share", [0.0, 0.1])
async def test_replicas_train_in_turn_and_agree(tmp_path: Path, full: bool, fault_share: float) -> None:
    n_retrainings = 50 if full or not fault_share else 10
    clock, objects, chance, trainers = Clock(), MemoryObjects(), random.Random(6), Trainers()
    replicas = [make_replica(f"r{n}", tmp_path, objects, clock) for n in range(N_REPLICAS)]

    def fail(operation: str, key: str) -> None:
        if chance.random() < fault_share:
            raise BucketError("a fault")

    for number in range(n_retrainings):
        objects.harm = objects.lose = fail
        due = clock.now() + timedelta(seconds=1)
        order = chance.sample(replicas, N_REPLICAS)
        runs = [
            asyncio.create_task(trainers.train(each, Job(f"{number}", "test", due=due), chance.uniform(1, 200), clock))
            for each in order
        ]
        deadline = time.monotonic() + 60
        while not all(run.done() for run in runs):
            assert time.monotonic() < deadline, "a run does not end"
            clock.turn(5)
            await asyncio.gather(*(each.sync.round() for each in chance.sample(replicas, 2)))
            await asyncio.sleep(0.001)
        outcomes = [run.result() for run in runs]
        if not fault_share:
            assert outcomes.count("accepted") == 1
        objects.harm = objects.lose = lambda operation, key: None
        clock.turn(400)
    for _ in range(3):
        for replica in replicas:
            await replica.sync.round(again=True)

    trained = [name for replica in replicas for name in replica.trained]
    assert trainers.most == 1
    assert len({replica.follows for replica in replicas}) == 1
    assert replicas[0].follows is not None
    assert [replica.sync.state.problem for replica in replicas] == [None] * N_REPLICAS
    version = Version.parse(replicas[0].follows)
    assert len({(each.store.path(version) / "model.json").read_bytes() for each in replicas}) == 1
    if not fault_share:
        assert sorted(set(trained)) == sorted(trained)
        assert n_retrainings == len(trained)
        assert f'"generation": {n_retrainings}'.encode() in objects.held[KEY][0]
