"""Who may train, among services whose clocks need not agree."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from memory_bucket import MemoryObjects

from recsys.errors import AnotherTrainsError, BucketError
from recsys.jobs.lease import Lease

_DUE = datetime(2026, 1, 4, 2, tzinfo=UTC)
_LATER = datetime(2026, 1, 11, 2, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def objects() -> MemoryObjects:
    return MemoryObjects()


@pytest.fixture
def lease_of(objects: MemoryObjects) -> Callable[..., Lease]:
    async def opened() -> MemoryObjects:
        return objects

    def make(who: str, clock: Clock | None = None) -> Lease:
        return Lease(opened, who=who, ttl_s=60, now=lambda: _DUE, clock=clock or Clock())

    return make


async def test_the_first_takes_it_and_the_second_is_told_who_has_it(lease_of: Callable[..., Lease]) -> None:
    one, two = lease_of("one"), lease_of("two")

    assert await one.try_take(_DUE) is None
    assert await two.try_take(_DUE) == "one"
    assert (one.held is not None, two.held) == (True, None)


async def test_what_is_given_back_can_be_taken(lease_of: Callable[..., Lease]) -> None:
    one, two = lease_of("one"), lease_of("two")
    await one.try_take(None)
    await one.release(None)

    assert await two.try_take(None) is None
    assert two.held is not None
    assert (two.held.record.generation, two.held.taken_over) == (2, False)


async def test_a_run_that_was_done_is_not_done_again_by_another(lease_of: Callable[..., Lease]) -> None:
    one, two = lease_of("one"), lease_of("two")
    await one.try_take(_DUE)
    await one.release(_DUE)

    with pytest.raises(AnotherTrainsError, match="one has done the run"):
        await two.try_take(_DUE)
    assert await two.try_take(_LATER) is None


async def test_what_was_done_is_remembered_over_runs_that_nobody_scheduled(lease_of: Callable[..., Lease]) -> None:
    one, two = lease_of("one"), lease_of("two")
    await one.try_take(_DUE)
    await one.release(_DUE)
    await two.try_take(None)
    await two.release(None)

    with pytest.raises(AnotherTrainsError):
        await one.try_take(_DUE)


async def test_a_holder_that_says_nothing_is_followed_by_another(lease_of: Callable[..., Lease]) -> None:
    clock = Clock()
    one, two = lease_of("one"), lease_of("two", clock)
    await one.try_take(_DUE)
    assert await two.try_take(_DUE) == "one"
    clock.time += 59
    assert await two.try_take(_DUE) == "one"
    clock.time += 1

    assert await two.try_take(_DUE) is None
    assert two.held is not None
    assert two.held.taken_over
    with pytest.raises(AnotherTrainsError, match="taken the lease over"):
        await one.renew()
    assert one.held is None


async def test_a_holder_that_renews_is_never_followed_whatever_its_clock_says(lease_of: Callable[..., Lease]) -> None:
    clock = Clock()
    one, two = lease_of("one"), lease_of("two", clock)
    await one.try_take(_DUE)
    for _ in range(10):
        clock.time += 45
        assert await two.try_take(_DUE) == "one"
        await one.renew()


async def test_a_holder_that_cannot_renew_gives_up_before_another_may_follow(
    lease_of: Callable[..., Lease], objects: MemoryObjects
) -> None:
    clock = Clock()
    one = lease_of("one", clock)
    await one.try_take(_DUE)

    def away(operation: str, key: str) -> None:
        raise BucketError("away")

    objects.harm = away
    clock.time += 30
    await one.renew()
    clock.time += 20
    with pytest.raises(AnotherTrainsError, match="could not be renewed"):
        await one.renew()


async def test_a_renewal_whose_reply_was_lost_has_worked(
    lease_of: Callable[..., Lease], objects: MemoryObjects
) -> None:
    one = lease_of("one")
    await one.try_take(_DUE)

    def lose(operation: str, key: str) -> None:
        raise BucketError("the connection broke")

    objects.lose = lose
    await one.renew()
    await one.renew()

    assert one.held is not None


async def test_a_lease_that_cannot_be_understood_is_nobodys_to_take(
    lease_of: Callable[..., Lease], objects: MemoryObjects
) -> None:
    objects.put("lease.json", b"{}")

    with pytest.raises(BucketError, match="cannot be understood"):
        await lease_of("one").try_take(_DUE)
