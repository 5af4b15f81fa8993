"""Feedback as the running process has it: the store, the way in, and what is held in memory, kept in step.

Owns the order of start and stop. Must not know models or HTTP.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from recsys.datasets.events import Events, ItemChange
from recsys.errors import FeedbackCorruptError, FeedbackUnavailableError
from recsys.feedback.changes import Change, Changes, Outcome, PutRatings, Shown
from recsys.feedback.ingest import Ingest
from recsys.feedback.overlay import Overlay
from recsys.feedback.rows import as_rows
from recsys.feedback.schema import ensure
from recsys.feedback.store import FeedbackStore
from recsys.feedback.turnstile import Turnstile

_log = structlog.get_logger(__name__)
_NO_EVENTS = Events.of([])
#: So few ratings are hashed on the loop, 3 µs each: the writer thread would hold the interpreter's lock for a whole
#: group of them, and the loop would wait for it.
_FEW = 16


class LiveFeedback:
    """What was rated, said of items and forgotten. `overlay` and `items` belong to the event loop's thread.

    Until `start` has read the store, and if ingest is switched off, there is no feedback. `on_items` is told when
    something was said of items, `on_shown` what was counted. Answers are given in `turns`.
    """

    def __init__(
        self,
        state: Path,
        *,
        enabled: bool = True,
        max_waiting: int = 10_000,
        wait_s: float = 5.0,
        clock: Callable[[], float] = time.time,
        on_items: Callable[[], None] = lambda: None,
        on_shown: Callable[[Sequence[Shown]], None] = lambda shown: None,
        turns: Turnstile | None = None,
    ) -> None:
        self.enabled = enabled
        self.store = FeedbackStore(state, clock=clock)
        self.overlay = Overlay(_NO_EVENTS, store_id="", key=b"")
        self.clock = clock
        self._items: dict[str, ItemChange] = {}
        self._items_sequence = 0
        self._max_waiting = max_waiting
        self._wait_s = wait_s
        self._on_items = on_items
        self._on_shown = on_shown
        self._turns = turns
        self._ingest: Ingest | None = None

    @property
    def items(self) -> Mapping[str, ItemChange]:
        """The last word on each item of which something was said."""
        return self._items

    @property
    def items_sequence(self) -> int:
        """When something was last said of an item; a model made with less lacks it."""
        return self._items_sequence

    @property
    def waiting_rows(self) -> int:
        return self._ingest.waiting_rows if self._ingest is not None else 0

    @property
    def problem(self) -> str | None:
        """Why ratings cannot be kept now, None while they can."""
        return self._ingest.problem if self._ingest is not None else None

    @property
    def shown_key(self) -> bytes:
        """The key of recommendation ids. Errors: FeedbackUnavailableError while the store has not been read; never
        waits for the disk.
        """
        if not self.overlay.store_id:
            raise FeedbackUnavailableError("what was shown cannot be counted now")
        return self.store.key + b"shown"

    def shown_counts(self) -> Mapping[tuple[str, str, str], int]:
        """How often what was counted, by (version, strategy, kind). Reads the disk."""
        return self.store.shown_counts() if self.enabled else {}

    async def start(self, learned: Callable[[str], int] = lambda store_id: 0) -> None:
        """Read the store and open the way in. A store that cannot be written now is read if it can be, and each write
        tries again. `learned` says up to which sequence of a store any model was trained.

        Errors: FeedbackCorruptError for a database that must not be used.
        """
        if not self.enabled:
            return
        known, problem = 0, None
        # it is read while it is checked, which takes a third as long; what was read counts if the check is passed
        steps = asyncio.to_thread(self._open, learned), asyncio.to_thread(self._read)
        opened, read = await asyncio.gather(*steps, return_exceptions=True)
        for outcome in (opened, read):
            if isinstance(outcome, BaseException) and not _leaves_a_service(outcome):
                raise outcome
        if isinstance(opened, FeedbackUnavailableError):
            problem = opened.detail
            _log.warning("ratings cannot be kept now", reason=str(opened))
        if isinstance(read, BaseException):
            _log.warning("there are no ratings to be read", reason=str(read))
        else:
            changes, self.overlay = read
            known = changes.sequence
            self._take_items(changes.items)
            if self.overlay.n_events:
                _log.info("read the ratings that came in", ratings=self.overlay.n_events)
        self._ingest = Ingest(
            self.store,
            known=known,
            on_written=self._written,
            on_outside=self._changed_outside,
            max_waiting=self._max_waiting,
            wait_s=self._wait_s,
            problem=problem,
            turns=self._turns,
        )
        self._ingest.start()

    async def close(self, within_s: float) -> None:
        """Write what waits, and end."""
        if self._ingest is not None:
            await self._ingest.close(within_s)
            await asyncio.to_thread(self.store.close)

    async def submit(self, change: Change) -> Outcome:
        """Return when a change is on disk and in memory. Errors: those of `Ingest.submit`."""
        if self._ingest is None:
            hint = "RECSYS_FEEDBACK__ENABLED=true takes ratings in"
            raise FeedbackUnavailableError("this service takes no ratings in", hint=hint)
        if isinstance(change, PutRatings) and len(change.ratings) <= _FEW and self.overlay.store_id:
            change = PutRatings(change.ratings, as_rows(change, self.store.key, int(self.clock())))
        return await self._ingest.submit(change)

    def _open(self, learned: Callable[[str], int]) -> None:
        self.store.open()
        self.store.skip_to(learned(self.store.store_id))

    def _read(self) -> tuple[Changes, Overlay]:
        store = self.store
        ensure(store.path)
        changes = store.changes()
        forgotten = {one.user_hash: one.sequence for one in changes.forgotten}
        return changes, Overlay(changes.events, store_id=store.store_id, key=store.key, forgotten=forgotten)

    def _written(self, outcomes: Sequence[Outcome]) -> None:
        self._know_the_store()
        for outcome in outcomes:
            if outcome.events:
                self.overlay.apply(outcome.events)
            if outcome.item is not None:
                self._take_items((outcome.item,))
            if (forgotten := outcome.forgotten) is not None:
                self.overlay.forget(forgotten.user_id, forgotten.user_hash, forgotten.sequence)
            if outcome.shown:
                self._on_shown(outcome.shown)

    def _changed_outside(self, changes: Changes) -> None:
        """What another process wrote: the command line imports ratings."""
        self._know_the_store()
        self.overlay.extend(changes.events)
        for forgotten in changes.forgotten:
            self.overlay.forget(None, forgotten.user_hash, forgotten.sequence)
        self._take_items(changes.items)

    def _know_the_store(self) -> None:
        """A store that could not be read at the start has a name by now."""
        if not self.overlay.store_id:
            self.overlay = Overlay(_NO_EVENTS, store_id=self.store.store_id, key=self.store.key)

    def _take_items(self, items: Sequence[ItemChange]) -> None:
        for item in items:
            self._items[item.item_id] = item
            self._items_sequence = max(self._items_sequence, item.sequence)
        if items:
            self._on_items()


def _leaves_a_service(error: BaseException) -> bool:
    """Whether the service starts all the same: it cannot keep ratings now, or not read them."""
    return isinstance(error, FeedbackUnavailableError) and not isinstance(error, FeedbackCorruptError)
