"""Removes versions that nobody needs, after training runs. Never the served, the pinned or the previous one, nor what
the bucket's pointer names, nor what waits for the bucket.
"""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import StoreError
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher

_log = structlog.get_logger(__name__)


class Retention:
    """Keeps `keep` accepted and as many rejected versions. `soon` asks; `run` is its task."""

    def __init__(
        self,
        store: ModelStore,
        slot: Slot,
        watcher: Watcher,
        *,
        keep: int,
        needed: Callable[[], Iterable[Version]] = tuple,
    ) -> None:
        self._store = store
        self._slot = slot
        self._watcher = watcher
        self._keep = keep
        self._needed = needed
        self._asked = asyncio.Event()

    def soon(self) -> None:
        self._asked.set()

    async def run(self) -> None:
        """Prune whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            # what is new is served first, so that what it replaces is known as the previous one
            try:
                await self._watcher.rescan()
            except Exception:
                _log.exception("a rescan failed; old versions stay")
                continue
            names = (self._slot.current.version if self._slot.current else None, self._slot.previous)
            protected = [Version.parse(name) for name in names if name is not None] + list(self._needed())
            if self._watcher.state.pin is not None:
                protected.append(self._watcher.state.pin)
            # the newest accepted one, which a pin may keep from being served: its name must not be given away again
            entries = self._watcher.state.listing.entries
            protected += [entry.version for entry in entries if entry.manifest and entry.manifest.accepted][-1:]
            try:
                removed = await asyncio.to_thread(self._store.prune, self._keep, protected)
            except StoreError as error:
                _log.warning("old versions cannot be removed", reason=str(error))
                continue
            if removed:
                _log.info("removed old versions", versions=[str(version) for version in removed])
