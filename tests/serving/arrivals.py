"""How versions come into a models directory, and how a test waits for what comes of it."""

import asyncio
import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recsys.artifacts.marks import Marks
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.serving.served import ServedModel
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher


def prepare(source: Path, target: Path, **changes: Any) -> Path:
    """Copy a version to `target`, whose name it takes, outside of any watched directory."""
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"version": target.name} | changes))
    return target


def rewrite(version: Path, name: str, content: bytes) -> None:
    """Change a file of a version, and let its manifest say so."""
    manifest = json.loads((version / "manifest.json").read_text())
    (version / name).write_bytes(content)
    record = next(record for record in manifest["files"] if record["path"] == name)
    record.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (version / "manifest.json").write_text(json.dumps(manifest))


def retitle(version: Path, mark: str) -> None:
    """Put `mark` before every title, so that each answer shows which files it was made from."""
    rows = [json.loads(line) for line in (version / "items.jsonl").read_text().splitlines()]
    for row in rows:
        row[1] = f"{mark} {row[1]}"
    rewrite(version, "items.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())


REJECTED = {"verdict": "rejected", "checks": []}


@dataclass
class Service:
    """A watcher on a real directory, in this process."""

    source: Path
    directory: Path
    rescan_s: float
    setting_pin: Version | None = None
    slot: Slot = field(default_factory=Slot)
    swaps: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ModelStore(self.directory / "models")
        self.marks = Marks(self.directory / "state")
        self.store.ensure()
        self.marks.ensure()
        self.watcher = self.new_watcher()

    def new_watcher(self) -> Watcher:
        return Watcher(
            ModelStore(self.store.directory),
            Marks(self.directory / "state"),
            self.slot,
            rescan_s=self.rescan_s,
            setting_pin=self.setting_pin,
            on_swap=lambda model: self.swaps.append(model.version),
        )

    @property
    def models(self) -> Path:
        return self.store.directory

    @property
    def serving(self) -> str | None:
        return self.slot.current.version if self.slot.current else None

    @property
    def reasons(self) -> dict[str, str]:
        return {name: mark.reason for name, mark in self.watcher.state.failed.items()}

    def prepare(self, version: str, **changes: Any) -> Path:
        """Make a copy of the sample's model beside the models directory, on the same disk."""
        aside = self.directory / "aside"
        aside.mkdir(exist_ok=True)
        return prepare(self.source, aside / version, **changes)

    def arrive(self, version: str, spoil: Callable[[Path], object] = lambda path: None, **changes: Any) -> Path:
        """Make a version appear in one rename."""
        prepared = self.prepare(version, **changes)
        spoil(prepared)
        return prepared.rename(self.models / version)

    def answer(self) -> list[int]:
        """Ask the model that is served for a list."""
        model = self.slot.take()
        found: list[int] = model.recommender.recommend(model.servable.history(5), 10).tolist()
        return found

    async def until(self, condition: Callable[[], object], timeout_s: float = 10.0) -> float:
        """Wait for a condition; returns how long it took."""
        start = time.monotonic()
        while not condition():
            waited = time.monotonic() - start
            assert waited < timeout_s, f"not within {timeout_s} s; serving {self.serving}, {self.watcher.state}"
            await asyncio.sleep(0.005)
        return time.monotonic() - start

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self.watcher.start()
        task = asyncio.create_task(self.watcher.run())
        try:
            yield
        finally:
            assert not task.done(), "the watcher has ended by itself"
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def events_arrive(self) -> None:
        """Wait until file events lead to rescans: the kernel is asked for them in another thread, some time after the
        start.
        """
        stranger = self.models / "stranger"
        deadline = time.monotonic() + 10
        while "stranger" not in self.watcher.state.listing.strangers:
            assert time.monotonic() < deadline
            shutil.rmtree(stranger, ignore_errors=True)
            stranger.mkdir()
            await asyncio.sleep(0.05)


class LoopMonitor:
    """Measures for how long at most the event loop did not come round, by ticks of a millisecond.

    Only as much of it counts as this process worked meanwhile: on a shared machine the whole process may stand still
    for 50 ms, which is nothing that it did to its loop.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def __aenter__(self) -> "LoopMonitor":
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.01)
        self.longest_s = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0)
        self._task.cancel()

    async def _tick(self) -> None:
        last, worked = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(0.001)
            now, work = time.perf_counter(), time.process_time()
            self.longest_s = max(self.longest_s, min(now - last - 0.001, work - worked))
            last, worked = now, work


def digest_of(model: ServedModel | None) -> str | None:
    return model.servable.manifest.digest if model else None
