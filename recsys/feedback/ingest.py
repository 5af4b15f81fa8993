"""From many requests on the loop to one writer thread: group commit, so that they share an fsync.

Whoever was answered sees their rating in the next answer: the loop first brings memory up to date, in order of
sequence, and then wakes who waits. What other processes wrote reaches memory the same way. Every wait has a limit.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from recsys.errors import FeedbackFullError, FeedbackUnavailableError, RecsysError
from recsys.feedback.changes import Change, Changes, Outcome, Written, n_rows
from recsys.feedback.store import FeedbackStore
from recsys.feedback.turnstile import Turnstile
from recsys.feedback.yielding import give_way

_log = structlog.get_logger(__name__)
#: Beyond so many rows a longer group saves nothing: it would only keep the first waiting, and the loop busy afterwards.
_ROWS_A_GROUP = 1000
#: How many of other processes' changes are brought to the loop at once.
_OUTSIDE_AT_ONCE = 500
#: While several write, a group waits until nobody has come for a moment, but no longer than this after the one before:
#: a commit costs as much as twenty ratings.
_GATHER_S, _MOMENT_S = 0.006, 0.003
_RESEND = "send it again; ratings with an event_id are never counted twice"


class _Waiting(NamedTuple):
    change: Change
    rows: int
    future: "asyncio.Future[Outcome]"


class Ingest:
    """The way in. `start`, `submit` and `close` belong to one event loop.

    `known` is the sequence up to which memory holds what is in the store. Both callbacks run on the loop, always in
    order of sequence: `on_outside` for what other processes wrote, `on_written` for a group of our own. At most
    `max_waiting` rows wait, none longer than `wait_s`; `poll_s` is how late other processes' changes may be noticed.
    `problem` is one that the start has met. Answers are given in `turns`.
    """

    def __init__(
        self,
        store: FeedbackStore,
        *,
        known: int,
        on_written: Callable[[Sequence[Outcome]], None],
        on_outside: Callable[[Changes], None],
        max_waiting: int = 10_000,
        wait_s: float = 5.0,
        poll_s: float = 1.0,
        problem: str | None = None,
        turns: Turnstile | None = None,
    ) -> None:
        self._turns = turns or Turnstile()
        self._store = store
        self._known = known
        self._on_written = on_written
        self._on_outside = on_outside
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._poll_s = poll_s
        self._groups: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        #: What is to go into the next group, and whether one is being written.
        self._gathered: deque[_Waiting] = deque()
        self._is_writing = False
        self._gathering: asyncio.TimerHandle | None = None
        self._gather_until = 0.0
        #: When each wait must end, the longest first.
        self._due: deque[tuple[float, asyncio.Future[Outcome]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_rows = 0
        self._closing = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="feedback-writer", daemon=True)
        #: Why ratings cannot be kept now, None when they can, also when nobody sends any; for `/health`.
        self.problem = problem

    @property
    def waiting_rows(self) -> int:
        """How many rows wait to be written or to reach memory."""
        return self._waiting_rows

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def submit(self, change: Change) -> Outcome:
        """Return when the change is on disk and in memory.

        Errors: what its outcome says (EventConflictError, InvalidInputError); FeedbackFullError at once when too much
        waits; FeedbackUnavailableError when it cannot be written, or not in time. If the caller is cancelled or the
        time is over, it is written whole or not at all.
        """
        rows = n_rows(change)
        if self._closing:
            raise FeedbackUnavailableError("the service is stopping", hint=_RESEND)
        if self._waiting_rows and self._waiting_rows + rows > self._max_waiting:
            raise FeedbackFullError(f"{self._waiting_rows} ratings are waiting to be written", hint="send them later")
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._waiting_rows += rows
        self._due.append((self._loop.time() + self._wait_s, future))
        if self._timer is None:
            self._timer = self._loop.call_later(self._wait_s, self._give_up)
        self._gathered.append(_Waiting(change, rows, future))
        if not self._is_writing and self._gathering is None:
            self._gather()
        return await future

    async def close(self, within_s: float) -> None:
        """Take nothing more, write what waits, and end; what is not written in time fails."""
        self._closing = True
        while self._gathered:
            self._hand_over()
        self._groups.put(None)
        try:
            async with asyncio.timeout(within_s):
                await self._ended.wait()
        except TimeoutError:
            _log.warning("ratings could not be written before the end", rows=self._waiting_rows)
            for _, future in self._due:
                _fail(future, FeedbackUnavailableError("the service is stopping", hint=_RESEND))
        else:
            self._thread.join()
        if self._timer is not None:
            self._timer.cancel()

    def _give_up(self) -> None:
        """End the waits that have lasted too long. One timer for all of them: one for each would cost a request more
        than its place in the group.
        """
        self._timer = None
        while self._due and self._due[0][0] <= self._loop.time():
            late = FeedbackUnavailableError(f"not written within {self._wait_s:g} s", hint=_RESEND)
            _fail(self._due.popleft()[1], late)
        if self._due:
            self._timer = self._loop.call_at(self._due[0][0], self._give_up)

    def _gather(self, n_before: int = 0) -> None:
        """Hand a group over, now or once nobody has come for a moment."""
        self._gathering = None
        if len(self._gathered) > n_before and self._loop.time() < self._gather_until:
            self._gathering = self._loop.call_later(_MOMENT_S, self._gather, len(self._gathered))
        else:
            self._hand_over()

    def _hand_over(self) -> None:
        group: list[_Waiting] = []
        rows = 0
        while self._gathered and rows < _ROWS_A_GROUP:
            group.append(waiting := self._gathered.popleft())
            rows += waiting.rows
        self._groups.put(group)
        self._is_writing = True

    def _run(self) -> None:
        """The writer thread: a group, then the next; a look at what others wrote whenever there is none."""
        give_way()
        scrubbed = time.monotonic()
        while (group := self._take()) is not None:
            if not group:
                self._look()
                continue
            self._write(group)
            if time.monotonic() - scrubbed > self._poll_s:  # under load there is no moment without a group
                self._scrub()
                scrubbed = time.monotonic()
        self._to_loop(self._ended.set)

    def _take(self) -> list[_Waiting] | None:
        """Return the next group; an empty one after `poll_s` without any, None at the end."""
        try:
            return self._groups.get(timeout=self._poll_s)
        except queue.Empty:
            return []

    def _write(self, group: list[_Waiting]) -> None:
        rows = sum(waiting.rows for waiting in group)
        group = [waiting for waiting in group if not waiting.future.done()]
        written: Written | None = None
        error: RecsysError | None = None
        try:
            if group:
                written = self._store.write([waiting.change for waiting in group])
                self._follow(written.before)
                self._known = written.sequence
        except Exception as caught:
            error = self._note(caught)
        else:
            self._note_success()
        self._to_loop(self._deliver, group, rows, written, error)

    def _look(self) -> None:
        try:
            self._store.scrub()
            if self.problem is not None:
                self._store.try_writing()
            self._follow(self._store.sequence)
        except Exception as caught:
            self._note(caught)
        else:
            self._note_success()

    def _scrub(self) -> None:
        """Finish a forgetting whose log somebody was reading."""
        try:
            self._store.scrub()
        except Exception as caught:
            self._note(caught)

    def _follow(self, sequence: int) -> None:
        """Bring what others wrote, up to `sequence`, to memory."""
        while self._known < sequence:
            changes = self._store.changes(self._known, up_to=sequence, most=_OUTSIDE_AT_ONCE)
            self._to_loop(self._on_outside, changes)
            self._known = changes.sequence

    def _note(self, caught: Exception) -> RecsysError:
        """Log a failure, once while it stays the same, and make it one that a request can be answered with."""
        error = caught if isinstance(caught, FeedbackUnavailableError) else None
        if error is None:
            _log.exception("the writer of ratings failed")
            error = FeedbackUnavailableError(f"the writer failed: {type(caught).__name__}")
        elif error.detail != self.problem:
            _log.warning("ratings cannot be kept now", reason=error.detail)
        self.problem = error.detail
        return error

    def _note_success(self) -> None:
        if self.problem is not None:
            _log.info("ratings are kept again")
        self.problem = None

    def _to_loop(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _deliver(self, group: list[_Waiting], rows: int, written: Written | None, error: RecsysError | None) -> None:
        """On the loop: memory first, then those who wait. Meanwhile the next group is written."""
        self._waiting_rows -= rows
        self._is_writing = False
        self._gather_until = self._loop.time() + _GATHER_S if len(group) > 1 else 0.0
        if self._gathered:
            self._gather()
        outcomes: tuple[Outcome, ...] = ()
        if written is not None and error is None:
            try:
                outcomes = written.outcomes
                self._on_written(outcomes)
            except Exception:
                _log.exception("what was written did not reach memory")
                error = RecsysError("it is on disk, and counts after the next start")
        if error is not None:
            outcomes = tuple(Outcome(error=type(error)(error.detail, hint=error.hint)) for _ in group)
        for waiting, outcome in zip(group, outcomes, strict=True):
            self._turns.call(self._answer, waiting.future, outcome)

    def _answer(self, future: "asyncio.Future[Outcome]", outcome: Outcome) -> None:
        if outcome.error is not None:
            _fail(future, outcome.error)
        elif not future.done():
            future.set_result(outcome)
        while self._due and self._due[0][1].done():
            self._due.popleft()


def _fail(future: "asyncio.Future[Outcome]", error: RecsysError) -> None:
    if not future.done():
        future.set_exception(error)
