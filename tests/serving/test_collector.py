"""When Python's cycle collector is run."""

import asyncio
import contextlib
import gc
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from recsys.serving import collector

NEVER_S = 3600.0


class Knot:
    """Holds on to itself: counting references does not free it."""

    def __init__(self) -> None:
        self.itself: Knot | None = self


@pytest.fixture(autouse=True)
def looking_often(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(collector, "_LOOK_S", 0.005)
    was_on = gc.isenabled()
    yield
    assert was_on == gc.isenabled()


def only_every(monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> None:
    monkeypatch.setattr(collector, "_EVERY_S", {2: NEVER_S, 1: NEVER_S, 0: NEVER_S} | seconds)


@contextlib.asynccontextmanager
async def collecting() -> AsyncIterator[None]:
    task = asyncio.create_task(collector.collect_by_the_clock())
    await asyncio.sleep(0)
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def is_gone(knot: "weakref.ref[Knot]") -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while knot() is not None:  # noqa: ASYNC110  nobody tells
                await asyncio.sleep(0.005)
    return knot() is None


@pytest.mark.parametrize("generation", [0, 1, 2])
async def test_each_generation_has_its_time(generation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    only_every(monkeypatch, {generation: 0.02})
    async with collecting():
        knot = Knot()
        for younger in range(generation):  # it grows old
            gc.collect(younger)
        there = weakref.ref(knot)
        del knot

        assert await is_gone(there)


async def test_many_new_ones_are_looked_at_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    only_every(monkeypatch, {})
    async with collecting():
        there = weakref.ref(Knot())
        kept = [[number] for number in range(collector._MANY)]

        assert await is_gone(there)
        assert len(kept) == collector._MANY


async def test_nothing_is_looked_at_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    only_every(monkeypatch, {})
    async with collecting():
        there = weakref.ref(Knot())
        await asyncio.sleep(0.05)
        made = [[number] for number in range(collector._MANY // 2)]  # by itself, it would look at each 700

        assert not gc.isenabled()
        assert there() is not None
        del made


async def test_afterwards_it_is_left_to_itself() -> None:
    async with collecting():
        assert gc.get_freeze_count() > 0

    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
