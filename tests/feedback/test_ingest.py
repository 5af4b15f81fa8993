import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from stores import FILM, NOW, OpenStore, all_bytes, item_numbers, numbered, put, rows

from recsys.errors import EventConflictError, FeedbackFullError, FeedbackUnavailableError, RecsysError
from recsys.feedback.changes import Change, Changes, DeleteRating, ForgetUser, Outcome, PutItem, Rating, Written
from recsys.feedback.ingest import Ingest
from recsys.feedback.store import FeedbackStore

Hold = Callable[..., AbstractContextManager[None]]


class GatedStore(FeedbackStore):
    """A store whose writer can be held up, or made to fail."""

    def __init__(self, inner: FeedbackStore) -> None:
        super().__init__(inner.path.parent, clock=lambda: NOW)
        self.gate = threading.Event()
        self.gate.set()
        self.writing = threading.Event()
        self.tried = threading.Event()
        self.fail_with: Exception | None = None

    def try_writing(self) -> None:
        self.tried.set()
        super().try_writing()

    def write(self, changes: Sequence[Change]) -> Written:
        self.writing.set()
        assert self.gate.wait(30)
        if self.fail_with is not None:
            raise self.fail_with
        return super().write(changes)


@dataclass
class Service:
    """An ingest with the memory that it keeps up to date."""

    ingest: Ingest
    store: GatedStore
    sequences: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    outside: list[int] = field(default_factory=list)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0.001)

    def submit(self, *numbers: int) -> "asyncio.Task[Outcome]":
        return asyncio.create_task(self.ingest.submit(numbered(numbers)))

    async def held_up(self, number: int) -> "asyncio.Task[Outcome]":
        """Have the writer stand still in the middle of a write."""
        self.store.gate.clear()
        self.store.writing.clear()
        task = self.submit(number)
        await self.until(self.store.writing.is_set)
        return task


Start = Callable[..., Service]


@pytest.fixture
async def start(store: FeedbackStore) -> AsyncIterator[Start]:
    started: list[Service] = []

    def make(**options: object) -> Service:
        gated = GatedStore(store)

        def written(outcomes: Sequence[Outcome]) -> None:
            service.groups.append(len(outcomes))
            service.sequences += [event.sequence for outcome in outcomes for event in outcome.events]

        def outside(changes: Changes) -> None:
            service.outside += changes.events.sequences.tolist()
            service.sequences += changes.events.sequences.tolist()

        arguments = {"known": 0, "on_written": written, "on_outside": outside, "poll_s": 0.02} | options
        service = Service(Ingest(gated, **arguments), gated)  # type: ignore[arg-type]
        started.append(service)
        service.ingest.start()
        return service

    yield make
    for service in started:
        service.store.gate.set()
        await service.ingest.close(10)
        service.store.close()


async def test_whoever_is_answered_finds_it_on_disk_and_in_memory(start: Start, store: FeedbackStore) -> None:
    service = start()
    for number in range(5):
        outcome = await service.submit(number)

        assert outcome.accepted == 1
        assert number + 1 == outcome.events[0].sequence == service.sequences[-1] == store.events().sequences[-1]


async def test_every_kind_of_change_goes_the_same_way(start: Start, store: FeedbackStore) -> None:
    service = start()
    await service.ingest.submit(put(Rating("ann", "1", 4.0)))
    deleted = await service.ingest.submit(DeleteRating("ann", "1"))
    item = await service.ingest.submit(PutItem(FILM))
    forgotten = await service.ingest.submit(ForgetUser("ann"))

    assert deleted.events[0].value is None
    assert item.item is not None
    assert forgotten.forgotten is not None
    assert (item.item.sequence, forgotten.forgotten.sequence) == (3, 4)
    assert store.events().user_ids == ()


async def test_requests_that_come_together_share_a_commit(start: Start, store: FeedbackStore) -> None:
    service = start()
    first = await service.held_up(0)
    others = [service.submit(number) for number in range(1, 65)]
    await service.until(lambda: service.ingest.waiting_rows == 65)
    service.store.gate.set()
    await asyncio.gather(first, *others)

    assert service.groups == [1, 64]
    assert list(range(65)) == item_numbers(store)
    assert service.ingest.waiting_rows == 0


async def test_the_loop_has_its_turn_while_those_of_a_long_group_are_answered(start: Start) -> None:
    service = start()
    service.store.gate.clear()
    submitted = [service.submit(number) for number in range(100)]
    await service.until(service.store.writing.is_set)
    answered: list[int] = []
    service.store.gate.set()
    while not all(task.done() for task in submitted):
        await asyncio.sleep(0)
        answered.append(sum(task.done() for task in submitted))

    turns = [after - before for before, after in pairwise(answered)]
    assert max(turns) == 1


async def test_while_several_write_those_who_come_within_a_moment_share_a_commit(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.feedback.ingest._GATHER_S", 60.0)
    monkeypatch.setattr("recsys.feedback.ingest._MOMENT_S", 0.5)
    service = start()
    first = await service.held_up(0)
    together = [service.submit(number) for number in (1, 2)]
    await service.until(lambda: service.ingest.waiting_rows == 3)
    service.store.gate.set()
    await asyncio.gather(first, *together)
    one_by_one = []
    for number in (3, 4, 5):
        one_by_one.append(service.submit(number))
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):  # until a moment has passed without any, not for as long as it may take
        await asyncio.gather(*one_by_one)

    assert service.groups == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="the scheduler has no such class")
async def test_the_writer_gives_way_and_nobody_else(start: Start) -> None:
    await start().submit(1)

    writer = next(thread for thread in threading.enumerate() if thread.name == "feedback-writer")
    assert writer.native_id is not None
    assert os.sched_getscheduler(writer.native_id) == os.SCHED_BATCH
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


async def test_large_requests_do_not_make_a_group_grow_without_end(start: Start) -> None:
    service = start()
    first = await service.held_up(0)
    others = [service.submit(*range(start, start + 400)) for start in range(1, 2401, 400)]
    await service.until(lambda: service.ingest.waiting_rows == 2401)
    service.store.gate.set()
    await asyncio.gather(first, *others)

    assert service.groups == [1, 3, 3]
    assert list(range(1, 2402)) == service.sequences


async def test_when_too_much_waits_more_is_refused_at_once(start: Start, store: FeedbackStore) -> None:
    service = start(max_waiting=10)
    first = await service.held_up(0)
    others = [service.submit(1, 2, 3, 4), service.submit(5, 6, 7, 8, 9)]
    await asyncio.sleep(0)
    with pytest.raises(FeedbackFullError, match="10 ratings are waiting"):
        await service.submit(10)
    service.store.gate.set()
    await asyncio.gather(first, *others)

    await service.submit(*range(100, 120))  # more than may wait, but nothing waits
    assert [*range(10), *range(100, 120)] == item_numbers(store)


async def test_one_that_is_refused_does_not_hurt_those_beside_it(start: Start, store: FeedbackStore) -> None:
    service = start()
    await service.ingest.submit(put(Rating("ann", "item50", 4.0, 1, "e1")))
    first = await service.held_up(0)
    bad = asyncio.create_task(service.ingest.submit(put(Rating("ann", "item51", 4.0, 1, "e1"))))
    good = service.submit(1)
    service.store.gate.set()
    results = await asyncio.gather(first, bad, good, return_exceptions=True)

    assert isinstance(results[1], EventConflictError)
    assert item_numbers(store) == [50, 0, 1]
    assert (await service.submit(2)).accepted == 1


async def test_cancelled_requests_are_written_whole_or_not_at_all(start: Start, store: FeedbackStore) -> None:
    service = start()
    first = await service.held_up(0)
    others = [service.submit(number) for number in range(1, 6)]
    await asyncio.sleep(0)
    for task in (first, others[1], others[3]):
        task.cancel()
    await asyncio.sleep(0)
    service.store.gate.set()
    found = await asyncio.gather(*others, return_exceptions=True)

    assert [outcome.events[0].timestamp - 1000 for outcome in found if isinstance(outcome, Outcome)] == [1, 3, 5]
    assert item_numbers(store) == [0, 1, 3, 5]
    assert service.sequences == [1, 2, 3, 4]
    assert service.ingest.waiting_rows == 0


@pytest.mark.parametrize(
    "failure", [FeedbackUnavailableError("the disk is full", hint="h"), TypeError("a bug")], ids=["disk", "bug"]
)
async def test_a_failed_write_fails_its_group_and_the_next_one_works(
    start: Start, store: FeedbackStore, failure: Exception
) -> None:
    service = start()
    first = await service.held_up(0)
    others = [service.submit(1), service.submit(2)]
    service.store.fail_with = failure
    service.store.gate.set()
    found = await asyncio.gather(first, *others, return_exceptions=True)

    assert [FeedbackUnavailableError] * 3 == [type(error) for error in found]
    assert service.ingest.problem is not None
    service.store.fail_with = None
    assert (await service.submit(3)).accepted == 1
    assert service.ingest.problem is None
    assert item_numbers(store) == [3]


async def test_a_wait_has_a_limit_and_what_was_not_begun_is_not_written(start: Start, store: FeedbackStore) -> None:
    service = start(wait_s=0.05)
    first = await service.held_up(0)
    found = await asyncio.gather(first, service.submit(1), return_exceptions=True)
    service.store.gate.set()
    await service.until(lambda: service.ingest.waiting_rows == 0)

    assert [FeedbackUnavailableError] * 2 == [type(error) for error in found]
    assert "within 0.05 s" in str(found[0])
    assert (await service.submit(2)).accepted == 1
    assert item_numbers(store) == [0, 2]


async def test_memory_that_cannot_follow_is_an_error_for_those_who_wait_and_nobody_else(
    start: Start, store: FeedbackStore
) -> None:
    calls = 0

    def broken_once(outcomes: Sequence[Outcome]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a bug")

    service = start(on_written=broken_once)
    with pytest.raises(RecsysError, match="it is on disk"):
        await service.submit(0)
    assert (await service.submit(1)).accepted == 1
    assert item_numbers(store) == [0, 1]


class TestClosing:
    async def test_writes_what_waits_and_takes_nothing_more(self, start: Start, store: FeedbackStore) -> None:
        service = start()
        first = await service.held_up(0)
        others = [service.submit(number) for number in range(1, 1500)]
        await service.until(lambda: service.ingest.waiting_rows == 1500)
        closing = asyncio.create_task(service.ingest.close(30))
        await asyncio.sleep(0)
        with pytest.raises(FeedbackUnavailableError, match="stopping"):
            await service.submit(9999)
        service.store.gate.set()
        await closing

        assert sum(outcome.accepted for outcome in await asyncio.gather(first, *others)) == 1500
        assert list(range(1500)) == item_numbers(store)
        assert "feedback-writer" not in [thread.name for thread in threading.enumerate()]

    async def test_ends_in_time_when_the_disk_hangs(self, start: Start) -> None:
        service = start()
        first = await service.held_up(0)
        other = service.submit(1)
        began = time.monotonic()
        await service.ingest.close(0.05)

        found = await asyncio.gather(first, other, return_exceptions=True)
        assert time.monotonic() - began < 3
        assert [FeedbackUnavailableError] * 2 == [type(error) for error in found]


class TestOtherProcesses:
    async def test_what_they_write_reaches_memory(self, start: Start, open_store: OpenStore) -> None:
        service = start()
        other = open_store()
        for start_at in (0, 1500):
            await asyncio.to_thread(other.write, [numbered(range(start_at, start_at + 1500))])

        await service.until(lambda: len(service.outside) == 3000)
        assert list(range(1, 3001)) == service.sequences

    async def test_what_they_wrote_comes_before_what_we_wrote_after_it(
        self, start: Start, open_store: OpenStore, store: FeedbackStore
    ) -> None:
        """Noticed in the very write, not only by the look from time to time."""
        service = start(poll_s=3600)
        other = open_store()
        dice = random.Random(3)
        for number in range(40):
            writer = other if dice.random() < 0.5 else None
            if writer is not None:
                await asyncio.to_thread(other.write, [numbered([number])])
            else:
                await service.submit(number)
                assert list(range(1, number + 2)) == service.sequences
        assert 0 < len(service.outside) < 40

    async def test_of_a_start_only_what_is_newer_than_memory_comes(self, start: Start, store: FeedbackStore) -> None:
        store.write([numbered(range(10))])
        service = start(known=store.sequence)

        await service.submit(10)
        assert service.sequences == [11]

    async def test_that_hold_the_lock_do_not_hold_the_loop(
        self, start: Start, store: FeedbackStore, held_by_another_process: Hold
    ) -> None:
        service = start(wait_s=0.3)
        service.store._lock_wait_s = 5.0  # longer than the request waits
        longest = 0.0
        with held_by_another_process(store.path, "BEGIN IMMEDIATE"):
            task = service.submit(0)
            last = time.monotonic()
            while not task.done():
                await asyncio.sleep(0.001)
                longest, last = max(longest, time.monotonic() - last), time.monotonic()
            with pytest.raises(FeedbackUnavailableError):
                await task

        assert longest < 0.25
        assert (await service.submit(1)).accepted == 1

    async def test_are_a_problem_until_they_let_go_though_nobody_sends_anything(
        self, start: Start, store: FeedbackStore, held_by_another_process: Hold
    ) -> None:
        service = start()
        service.store._lock_wait_s = 0.01
        with held_by_another_process(store.path, "BEGIN IMMEDIATE"):
            with pytest.raises(FeedbackUnavailableError, match="locked by another process"):
                await service.submit(0)
            assert "locked by another process" in str(service.ingest.problem)
            for _ in range(3):  # it is looked at again and again
                service.store.tried.clear()
                await service.until(service.store.tried.is_set)
                assert service.ingest.problem is not None

        await service.until(lambda: service.ingest.problem is None)
        assert store.sequence == 0

    async def test_a_forgetting_that_a_reader_held_up_is_finished_when_there_is_nothing_to_do(
        self, start: Start, store: FeedbackStore, held_by_another_process: Hold
    ) -> None:
        service = start()
        await service.ingest.submit(put(Rating("ann-of-the-hill", "1", 4.0)))
        state = store.path.parent
        with held_by_another_process(store.path, "BEGIN", "SELECT count(*) FROM events"):
            await service.ingest.submit(ForgetUser("ann-of-the-hill"))
            assert b"ann-of-the-hill" in all_bytes(state)

        await service.until(lambda: b"ann-of-the-hill" not in all_bytes(state))


async def test_many_at_once_are_all_kept_in_the_order_of_their_sequence(start: Start, store: FeedbackStore) -> None:
    service = start()

    async def client(number: int) -> list[int]:
        done = [await service.ingest.submit(numbered([number * 100 + step])) for step in range(10)]
        return [outcome.events[0].sequence for outcome in done]

    found = await asyncio.gather(*(client(number) for number in range(64)))

    assert list(range(1, 641)) == service.sequences
    assert all(sequences == sorted(sequences) for sequences in found)
    assert list(range(1, 641)) == sorted(sequence for sequences in found for sequence in sequences)
    assert {number * 100 + step for number in range(64) for step in range(10)} == set(item_numbers(store))
    assert len(rows(store.events())) == 640
