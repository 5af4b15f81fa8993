"""A service's tie to its bucket: the one open client, and how things stand, for operators.

What goes over it is `sync`'s and `publishing`'s, one at a time.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from recsys.artifacts.bucket import Objects, keeps_conditions
from recsys.artifacts.manifest import format_time
from recsys.artifacts.outbox import Waiting
from recsys.artifacts.pointer import Pointer

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SyncState:
    """What an operator wants to know. `reachable` is None before the first round."""

    bucket: str
    role: str
    reachable: bool | None = None
    problem: str | None = None
    pointer: Pointer | None = None
    checked_at: datetime | None = None
    doing: str | None = None
    progress: float = 0.0
    waiting: tuple[Waiting, ...] = ()
    single_writer: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "bucket": self.bucket,
            "role": self.role,
            "reachable": self.reachable,
            "problem": self.problem,
            "pointer": self.pointer.summary() if self.pointer else None,
            "checked_at": format_time(self.checked_at) if self.checked_at else None,
            "doing": self.doing,
            "progress": round(self.progress, 3),
            "waiting": [waiting.version for waiting in self.waiting],
            "single_writer": self.single_writer,
        }


class Tie:
    """Holds the bucket open. `busy` is held by whoever works on it; `state` is what `tell` last changed."""

    def __init__(
        self,
        opener: Callable[[], AbstractAsyncContextManager[Objects]],
        *,
        name: str,
        role: str,
        on_change: Callable[[SyncState], None] = lambda state: None,
    ) -> None:
        self.state = SyncState(name, role)
        self.busy = asyncio.Lock()
        self._opener = opener
        self._writes = role != "pull"
        self._on_change = on_change
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._objects: Objects | None = None

    async def objects(self) -> Objects:
        """Give the open bucket. Who writes finds out first whether it keeps conditions.

        Errors: BucketError, SettingsError.
        """
        async with self._opening:
            if self._objects is None:
                async with AsyncExitStack() as opening:
                    objects = await opening.enter_async_context(self._opener())
                    if self._writes:
                        objects.conditional = await keeps_conditions(objects)
                    self._opened = opening.pop_all()
                self._objects = objects
                if not objects.conditional:
                    _log.warning("the store ignores conditions: only one service may train", bucket=self.state.bucket)
                self.tell(single_writer=not objects.conditional)
            return self._objects

    async def close(self) -> None:
        """Let go of the bucket. The next question opens it again, and looks for credentials anew."""
        self._objects = None
        await self._opened.aclose()

    def tell(self, **changes: Any) -> None:
        before, self.state = self.state, replace(self.state, **changes)
        if replace(self.state, checked_at=before.checked_at, progress=before.progress) != before:
            self._on_change(self.state)

    def progress(self, done: int, total: int) -> None:
        self.state = replace(self.state, progress=done / total if total else 1.0)
