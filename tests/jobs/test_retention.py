"""After a run the versions nobody needs go, and never one that somebody does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from service import copy_version

from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.errors import StoreError
from recsys.jobs.retention import Retention
from recsys.serving.watcher import Watched

_REJECTED = {"gate": {"verdict": "rejected", "checks": []}}


class Service:
    """Retention over a real store, beside stand-ins for what is served and pinned."""

    def __init__(self, store: ModelStore, keep: int) -> None:
        self.store = store
        self.slot: Any = SimpleNamespace(current=None, previous=None)
        self.state = Watched()
        self.rescans = 0
        self.on_rescan: Callable[[], None] = lambda: None
        self.retention = Retention(store, self.slot, self, keep=keep)  # type: ignore[arg-type]

    async def rescan(self) -> None:
        """The watcher's part."""
        self.rescans += 1
        self.state = replace(self.state, listing=self.store.scan())
        self.on_rescan()

    def serve(self, version: str, previous: str | None = None) -> None:
        self.slot.current, self.slot.previous = SimpleNamespace(version=version), previous

    def versions(self) -> list[str]:
        return [str(entry.version) for entry in self.store.scan().entries]

    async def prune(self) -> list[str]:
        """Ask, wait until it is done, and say what is left."""
        task = asyncio.create_task(self.retention.run())
        try:
            self.retention.soon()
            await self.idle()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return self.versions()

    async def idle(self) -> None:
        """Two rounds are asked for: when the second has begun, the first is over."""
        for _ in range(2):
            seen = self.rescans
            self.retention.soon()
            deadline = time.monotonic() + 10
            while self.rescans == seen:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.005)


@pytest.fixture
def service(store_with: Callable[..., ModelStore]) -> Callable[..., Service]:
    def make(*versions: str, keep: int = 2) -> Service:
        return Service(store_with(*versions), keep)

    return make


async def test_the_lowest_go_until_so_many_are_left(service: Callable[..., Service]) -> None:
    assert await service("v1.0.0", "v1.0.1", "v1.0.9", "v1.0.10").prune() == ["v1.0.9", "v1.0.10"]


async def test_nothing_goes_while_there_are_not_too_many(service: Callable[..., Service]) -> None:
    assert await service("v1.0.0", "v1.0.1").prune() == ["v1.0.0", "v1.0.1"]


async def test_the_served_the_previous_and_the_pinned_stay(service: Callable[..., Service]) -> None:
    found = service("v1.0.0", "v1.0.1", "v1.0.2", "v1.0.3", "v1.0.4", "v1.0.5")
    found.serve("v1.0.1", previous="v1.0.3")
    found.state = replace(found.state, pin=Version.parse("v1.0.0"))
    left = await found.prune()
    assert set(left) >= {"v1.0.0", "v1.0.1", "v1.0.3"}
    assert not {"v1.0.2", "v1.0.4"} & set(left)


async def test_the_newest_stays_when_a_pin_serves_an_older_one(service: Callable[..., Service]) -> None:
    """Its name would else be given to the next version: two models under one name."""
    found = service("v1.0.0", "v1.0.1", "v1.0.2", "v1.0.3")
    found.serve("v1.0.0", previous="v1.0.1")
    found.state = replace(found.state, pin=Version.parse("v1.0.0"))
    assert "v1.0.3" in await found.prune()


async def test_rejected_versions_do_not_crowd_out_accepted_ones(
    service: Callable[..., Service], trained_sample: Path
) -> None:
    found = service("v1.0.0", "v1.0.1")
    for name in ("v1.0.2", "v1.0.3", "v1.0.4"):
        copy_version(trained_sample / "v1.0.0", found.store.path(Version.parse(name)), **_REJECTED)
    assert await found.prune() == ["v1.0.0", "v1.0.1", "v1.0.3", "v1.0.4"]


async def test_what_is_no_version_stays(service: Callable[..., Service]) -> None:
    found = service("v1.0.0", "v1.0.1", "v1.0.2")
    stranger, broken = found.store.directory / "notes", found.store.directory / "v0.0.1"
    stranger.mkdir()
    broken.mkdir()
    assert await found.prune() == ["v0.0.1", "v1.0.1", "v1.0.2"]
    assert stranger.is_dir()


async def test_what_is_new_is_served_before_anything_goes(service: Callable[..., Service]) -> None:
    """Otherwise the version that was served a moment ago would not be known as the previous one."""
    found = service("v1.0.0", "v1.0.1", "v1.0.2")
    found.serve("v1.0.0")
    found.on_rescan = lambda: found.serve("v1.0.2", previous="v1.0.0")
    assert "v1.0.0" in await found.prune()


async def test_a_store_that_fails_once_is_pruned_the_next_time(
    service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = service("v1.0.0", "v1.0.1", "v1.0.2")
    prune = found.store.prune
    failures = [StoreError("the disk is read-only")]

    def flaky(*arguments: Any) -> list[Version]:
        if failures:
            raise failures.pop()
        return prune(*arguments)

    monkeypatch.setattr(found.store, "prune", flaky)
    assert await found.prune() == ["v1.0.1", "v1.0.2"]
    assert failures == []


async def test_nothing_happens_unasked(service: Callable[..., Service]) -> None:
    found = service("v1.0.0", "v1.0.1", "v1.0.2")
    task = asyncio.create_task(found.retention.run())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    assert (found.rescans, found.versions()) == (0, ["v1.0.0", "v1.0.1", "v1.0.2"])


@pytest.fixture(autouse=True)
async def _no_task_is_left() -> AsyncIterator[None]:
    yield
    assert [task for task in asyncio.all_tasks() if "Retention" in repr(task.get_coro()) and not task.done()] == []
