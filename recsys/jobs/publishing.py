"""Brings what was trained here into the bucket: push, then move the pointer, unless somebody has moved it since.

A version waits on disk until it is through. The pointer's generation when a training began is what it may follow: a
trainer that was paused, or cut off from the bucket, finds another one and stays behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from recsys.artifacts.bucket import Objects
from recsys.artifacts.outbox import Outbox, Waiting
from recsys.artifacts.pointer import Pointer, move_pointer, next_pointer, read_pointer, sealed
from recsys.artifacts.remote import RemoteVersions
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import BucketError, LostRaceError, RecsysError, VersionTakenError
from recsys.jobs.tie import Tie

_log = structlog.get_logger(__name__)


class Publisher:
    """Publishes for one service, which is known as `who`. `on_moved` is told of a pointer that was moved here."""

    def __init__(
        self,
        tie: Tie,
        store: ModelStore,
        outbox: Outbox,
        *,
        who: str,
        keep: int,
        on_moved: Callable[[Pointer], Awaitable[None]],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._tie = tie
        self._store = store
        self._outbox = outbox
        self._who = who
        self._keep = keep
        self._on_moved = on_moved
        self._now = now

    async def recall(self) -> None:
        """Learn what waited when the service ended. Errors: StoreError."""
        self._tie.tell(waiting=await asyncio.to_thread(self._outbox.load))

    async def standing(self) -> tuple[int, list[Version]]:
        """Return the pointer's generation, 0 if there is none, and the names that are taken.

        Errors: BucketError, PointerRefusedError.
        """
        objects = await self._tie.objects()
        pointer, _ = await read_pointer(objects)
        return (pointer.generation if pointer else 0), await RemoteVersions(objects, self._store).versions()

    async def seal(self) -> None:
        """Move the pointer on to what it names already, so that whoever saw it before cannot move it any more.

        Errors: BucketError, PointerRefusedError.
        """
        async with self._tie.busy:
            objects = await self._tie.objects()
            before, etag = await read_pointer(objects)
            if before is not None:
                await self._move(objects, sealed(before, who=self._who, when=self._now()), etag)

    async def publish(self, version: Version, *, generation: int) -> None:
        """Publish now, or as soon as the bucket is back. Never fails: what stands against it is in the state."""
        async with self._tie.busy:
            try:
                await self._keep_waiting((*self._tie.state.waiting, Waiting(str(version), generation)))
                self._tie.tell(problem=await self.publish_waiting())
            except RecsysError as error:
                _log.warning("a version waits to be published", version=str(version), reason=str(error))
                self._tie.tell(problem=str(error))
            finally:
                self._tie.tell(doing=None, progress=0.0)

    async def publish_waiting(self) -> str | None:
        """Publish all that waits, first come first, while `busy` is held. Returns why some of it never will be.

        Errors: BucketError and others, when it may be later.
        """
        problem = None
        while self._tie.state.waiting:
            first = self._tie.state.waiting[0]
            objects = await self._tie.objects()
            try:
                await self._publish(objects, first)
            except VersionTakenError:
                await self.make_way(Version.parse(first.version))
                continue
            except RecsysError as error:
                if isinstance(error, BucketError) and not isinstance(error, LostRaceError):
                    raise
                problem = f"{first.version} was not made current: {error.detail}"
                _log.warning("not published", version=first.version, reason=error.detail)
            await self._keep_waiting(self._tie.state.waiting[1:])
        return problem

    async def _publish(self, objects: Objects, waiting: Waiting) -> None:
        remote = RemoteVersions(objects, self._store)
        self._tie.tell(doing=f"pushing {waiting.version}")
        manifest = await remote.push(Version.parse(waiting.version), progress=self._tie.progress)
        before, etag = await read_pointer(objects)
        if before is not None and (before.version, before.digest) == (manifest.version, manifest.digest):
            return
        if (before.generation if before else 0) != waiting.generation:
            who = before.who if before else "somebody"
            raise LostRaceError(f"{who} has moved the pointer since its training began", passing=False)
        await self._move(objects, next_pointer(before, manifest, who=self._who, when=self._now()), etag)
        protected = [Version.parse(manifest.version), *([before.name] if before else [])]
        try:
            removed = await remote.prune(self._keep, protected)
        except BucketError as error:
            _log.warning("old versions stay in the bucket", reason=str(error))
            return
        if removed:
            _log.info("removed old versions from the bucket", versions=[str(version) for version in removed])

    async def _move(self, objects: Objects, pointer: Pointer, etag: str | None) -> None:
        await move_pointer(objects, pointer, etag=etag)
        await self._on_moved(pointer)

    async def make_way(self, version: Version) -> None:
        """Give a version of ours another name: the bucket holds a different one under it.

        Errors: BucketError, VersionInvalidError, StoreError.
        """
        taken = await RemoteVersions(await self._tie.objects(), self._store).versions()
        new = await asyncio.to_thread(self._store.rename, version, taken)
        _log.warning("the bucket holds another of this name; ours was renamed", version=str(version), now=str(new))
        await self._keep_waiting(
            tuple(
                replace(each, version=str(new)) if each.version == str(version) else each
                for each in self._tie.state.waiting
            )
        )

    async def _keep_waiting(self, waiting: tuple[Waiting, ...]) -> None:
        if waiting != self._tie.state.waiting:
            self._tie.tell(waiting=waiting)
            await asyncio.to_thread(self._outbox.save, waiting)
