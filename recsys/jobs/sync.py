"""Keeps the store in step with the bucket: a round every interval, and one whenever somebody asks.

A round asks for the pointer once, under a condition; all else happens only when there is something to do. Whatever the
bucket does, serving goes on, and what is wrong is in the state. What is served is the watcher's: this only publishes
into the store and remembers the pointer.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from recsys.artifacts.bucket import Objects, Sleep
from recsys.artifacts.pointer import Pointer, PointerMemory, read_pointer, refuse_older
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.store import ModelStore
from recsys.errors import BucketError, NoCredentialsError, RecsysError, StoreError, VersionTakenError
from recsys.jobs.publishing import Publisher
from recsys.jobs.tie import SyncState, Tie

_JITTER = 0.1
#: A version that was refused is looked at again after a time that doubles up to this.
_LONGEST_PAUSE_S = 300.0
_log = structlog.get_logger(__name__)


class Sync:
    """Follows the pointer (`follows`) and publishes what waits (`publishes`). `run` is its task."""

    def __init__(
        self,
        tie: Tie,
        publisher: Publisher,
        store: ModelStore,
        memory: PointerMemory,
        *,
        follows: bool,
        publishes: bool,
        interval_s: float,
        on_pulled: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._tie = tie
        self._publisher = publisher
        self._store = store
        self._memory = memory
        self._follows = follows
        self._publishes = publishes
        self._interval_s = interval_s
        self._on_pulled = on_pulled
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._etag: str | None = None
        self._wanted: Pointer | None = None
        self._refused: str | None = None
        self._refusals, self._not_before = 0, 0.0

    @property
    def state(self) -> SyncState:
        return self._tie.state

    async def start(self) -> None:
        """Recall what was known. Nothing is asked of the bucket."""
        try:
            self._tie.tell(pointer=await asyncio.to_thread(self._memory.load))
            await self._publisher.recall()
        except StoreError as error:
            _log.warning("what was known of the bucket is lost", reason=str(error))
            self._tie.tell(problem=str(error))

    async def run(self) -> None:
        """Do a round every interval until cancelled."""
        while True:
            await self.round()
            await self._sleep(self._interval_s * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311  no secret

    async def round(self, *, again: bool = False) -> SyncState:
        """Publish what waits and follow the pointer; `again` looks anew at what was refused. Never fails."""
        async with self._tie.busy:
            if again:
                self._not_before = 0.0
            problem, reachable = None, True
            try:
                objects = await self._tie.objects()
                if self._publishes:
                    problem = await self._publisher.publish_waiting()
                if self._follows:
                    problem = await self._follow(objects) or problem
            except RecsysError as error:
                problem, reachable = str(error), not isinstance(error, BucketError)
                if isinstance(error, NoCredentialsError):
                    await self._tie.close()
            except Exception as error:
                _log.exception("a round failed in a way nobody foresaw")
                problem = f"{type(error).__name__}: {error}"
            if problem is not None and problem != self.state.problem:
                _log.warning("not in step with the bucket", bucket=self.state.bucket, reason=problem)
            self._tie.tell(problem=problem, reachable=reachable, doing=None, progress=0.0)
            if reachable:
                self._tie.tell(checked_at=self._now())
        return self.state

    async def _follow(self, objects: Objects) -> str | None:
        """Fetch what the pointer names, and remember the pointer. Returns what stands against it.

        Errors: those of fetching, and PointerRefusedError.
        """
        pointer, etag = await read_pointer(objects, unless=self._etag)
        if pointer is not None:
            self._wanted, self._refusals, self._not_before = pointer, 0, 0.0
        self._etag = etag
        wanted = self._wanted or await self._missing()
        if wanted is None:
            return None if etag is not None or self.state.pointer is None else "the bucket's pointer is gone"
        if self._clock() < self._not_before:
            return self._refused
        refuse_older(self.state.pointer, wanted)
        try:
            await self._fetch(objects, wanted)
        except RecsysError as error:
            if not isinstance(error, BucketError):
                pause = min(_LONGEST_PAUSE_S, self._interval_s * 2**self._refusals)
                self._refused, self._refusals = str(error), self._refusals + 1
                self._not_before = self._clock() + pause
            raise
        await self.accept(wanted)
        self._wanted = None
        return None

    async def _missing(self) -> Pointer | None:
        """The pointer that is followed, if its version is here no more."""
        pointer = self.state.pointer
        return None if pointer is None or await asyncio.to_thread(self._is_here, pointer) else pointer

    def _is_here(self, pointer: Pointer) -> bool:
        self._store.ensure()
        entry = self._store.scan().find(pointer.name)
        return entry is not None and entry.manifest is not None and entry.manifest.digest == pointer.digest

    async def _fetch(self, objects: Objects, pointer: Pointer) -> None:
        if await asyncio.to_thread(self._is_here, pointer):
            return
        remote = RemoteVersions(objects, self._store)
        self._tie.tell(doing=f"pulling {pointer.version}")
        try:
            await remote.pull(pointer.name, pointer.digest, progress=self._tie.progress)
        except VersionTakenError:
            await self._publisher.make_way(pointer.name)
            await remote.pull(pointer.name, pointer.digest, progress=self._tie.progress)
        _log.info("pulled", version=pointer.version, bucket=self.state.bucket)
        self._on_pulled()

    async def accept(self, pointer: Pointer) -> None:
        """Follow a pointer whose version is here, from now on and after a restart. Errors: StoreError."""
        if self._follows and pointer != self.state.pointer:
            await asyncio.to_thread(self._memory.save, pointer)
            _log.info("the pointer has moved", version=pointer.version, generation=pointer.generation, who=pointer.who)
            self._tie.tell(pointer=pointer)
            self._on_pulled()
