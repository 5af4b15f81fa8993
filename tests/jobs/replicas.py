"""Services of one bucket, without the web: what each is made of, on a clock that tests turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from small_versions import publish_small

from recsys.artifacts.bucket import Objects
from recsys.artifacts.outbox import Outbox
from recsys.artifacts.pointer import Pointer, PointerMemory
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import AnotherTrainsError, BucketError
from recsys.jobs.lease import Lease
from recsys.jobs.ledger import Job
from recsys.jobs.publishing import Publisher
from recsys.jobs.sync import Sync
from recsys.jobs.tie import Tie
from recsys.jobs.turns import SharedTurns
from recsys.training.plan import TrainingPlan

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Everybody's time. Who sleeps is woken when a test turns it."""

    def __init__(self) -> None:
        self.time = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.time

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time)

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, woken))
        await woken

    def turn(self, seconds: float) -> None:
        self.time += seconds
        for until, woken in self._sleepers:
            if until <= self.time and not woken.done():
                woken.set_result(None)
        self._sleepers = [each for each in self._sleepers if not each[1].done()]


@dataclass
class Replica:
    """One service: its store, its tie to the bucket, and its turn to train."""

    name: str
    store: ModelStore
    tie: Tie
    sync: Sync
    publisher: Publisher
    lease: Lease
    turns: SharedTurns
    trained: list[str] = field(default_factory=list)

    async def train(self, job: Job, during: asyncio.Event | None = None, *, content: bytes = b"") -> str:
        """Train for as long as `during` is not set. Returns how it ended."""
        try:
            async with self.turns(job) as turn:
                if during is not None:
                    await during.wait()
                model = content or f"{self.name} {job.id}".encode()
                made = await asyncio.to_thread(publish_small, self.store, taken=turn.plan.taken, model=model)
                self.trained.append(made.version)
                await turn.publish(Version.parse(made.version))
        except AnotherTrainsError as error:
            return error.detail
        except BucketError as error:
            return f"failed: {error.detail}"
        return "accepted"

    @property
    def follows(self) -> str | None:
        return self.tie.state.pointer.version if self.tie.state.pointer else None


def make_replica(
    name: str,
    directory: Path,
    objects: Objects,
    clock: Clock,
    *,
    role: Literal["pull", "train", "both"] = "both",
    ahead_s: float = 0.0,
) -> Replica:
    """`ahead_s` is how much too late its clock says it is; its steady one goes as everybody's."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[Objects]:
        yield objects

    def now() -> datetime:
        return clock.now() + timedelta(seconds=ahead_s)

    store = ModelStore(directory / name / "models")
    store.ensure()
    state = directory / name / "state"
    tie = Tie(opener, name=objects.name, role=role)

    async def moved(pointer: Pointer) -> None:
        await sync.accept(pointer)

    publisher = Publisher(tie, store, Outbox(state), who=name, keep=100, on_moved=moved, now=now)
    sync = Sync(
        tie,
        publisher,
        store,
        PointerMemory(state, objects.name),
        follows=role != "train",
        publishes=role != "pull",
        interval_s=10,
        now=now,
        clock=clock,
        sleep=clock.sleep,
    )
    lease = Lease(tie.objects, who=name, ttl_s=60, now=now, clock=clock)
    turns = SharedTurns(
        lambda: TrainingPlan(models=store.directory, sample=directory / "sample"),
        lease,
        publisher,
        wait_s=3600,
        seen_generation=lambda: tie.state.pointer.generation if tie.state.pointer else 0,
        sleep=clock.sleep,
    )
    return Replica(name, store, tie, sync, publisher, lease, turns)
