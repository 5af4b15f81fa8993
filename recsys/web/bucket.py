"""Puts together what ties the service to a bucket, from the settings. Without a bucket there is none of it."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from recsys.artifacts.outbox import Outbox
from recsys.artifacts.pointer import Pointer, PointerMemory
from recsys.artifacts.s3 import open_bucket
from recsys.artifacts.s3_objects import bucket_name
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.jobs.lease import Lease
from recsys.jobs.publishing import Publisher
from recsys.jobs.sync import Sync
from recsys.jobs.tie import SyncState, Tie
from recsys.jobs.turns import SharedTurns, Turns
from recsys.settings import Settings
from recsys.training.plan import TrainingPlan


@dataclass(frozen=True)
class BucketParts:
    """`turns` says whose turn it is to train, None on a service that never does."""

    tie: Tie
    sync: Sync
    turns: Turns | None
    follows: bool

    def pointer(self) -> Pointer | None:
        """The pointer that is to be served, as far as it has been accepted."""
        return self.tie.state.pointer if self.follows else None

    def needed(self) -> list[Version]:
        """Versions that must not be removed here."""
        state = self.tie.state
        waiting = [Version.parse(each.version) for each in state.waiting]
        return waiting + ([state.pointer.name] if state.pointer else [])


def bucket_parts(
    settings: Settings,
    store: ModelStore,
    plan: Callable[[], TrainingPlan],
    *,
    on_pulled: Callable[[], None],
    on_change: Callable[[SyncState], None],
) -> BucketParts | None:
    """Put the parts together; nothing is opened or read."""
    s3, state = settings.s3, settings.paths.state
    if s3.bucket is None:
        return None
    who = f"{socket.gethostname()}/{os.getpid()}"
    name = bucket_name(s3)
    tie = Tie(lambda: open_bucket(s3), name=name, role=s3.role, on_change=on_change)

    async def moved(pointer: Pointer) -> None:
        await sync.accept(pointer)

    publisher = Publisher(tie, store, Outbox(state), who=who, keep=s3.keep_versions, on_moved=moved)
    sync = Sync(
        tie,
        publisher,
        store,
        PointerMemory(state, name),
        follows=s3.follows,
        publishes=s3.publishes,
        interval_s=s3.poll_interval_s,
        on_pulled=on_pulled,
    )
    lease = Lease(tie.objects, who=who, ttl_s=s3.lease_s, now=lambda: datetime.now(UTC))
    turns = SharedTurns(
        plan,
        lease,
        publisher,
        wait_s=settings.retraining.timeout_s,
        seen_generation=lambda: tie.state.pointer.generation if tie.state.pointer else 0,
    )
    return BucketParts(tie, sync, turns if s3.publishes else None, s3.follows)
