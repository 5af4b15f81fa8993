"""All events in memory, by user: what is newer than the served model, asked at every request.

Owns the packed form of events and what forgetting silences. Changed only on the event loop's thread, after the store
has said that a change is on disk. Must not know the store, models or HTTP.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct

import numpy as np

from recsys.datasets.events import Event, Events, UserEvents, UserRatings
from recsys.datasets.merge import merge_history
from recsys.datasets.ratings import Float32, Int32, Int64
from recsys.feedback.changes import user_hash

#: One event: number of the item, value (NaN: taken back), unix seconds, sequence.
_EVENT = Struct("<ifqq")
_SEQUENCE = Struct("<q")
#: Where the last of some records begins, from their end.
_LAST = -_EVENT.size
_COLUMNS = np.dtype([("items", "<i4"), ("values", "<f4"), ("timestamps", "<i8"), ("sequences", "<i8")])
_NO_HISTORY = (np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int64))
#: How many events are packed, or copied for another thread, at once.
_EVENTS_AT_ONCE = 2**14
_Records = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class EventBlock:
    """All events of some users, each user's together and in order of sequence: `users` int32 number them from 0,
    `items` int32 are positions in `Overlay.item_ids`, `values` float32 (NaN: taken back), `timestamps` int64. All
    [n_events].
    """

    users: Int32
    items: Int32
    values: Float32
    timestamps: Int64


class Overlay:
    """Every event of one store, in memory.

    Each user's events are one bytearray of 24-byte records in order of sequence. So a new one is appended in place, a
    user is forgotten by letting go of one object, and there is nothing to fold or to rebuild while requests are
    answered. Memory: 24 to 27 bytes an event, and about 250 a user with the id.

    `item_ids` only grows: a number keeps its meaning for as long as the overlay lives.
    """

    def __init__(
        self, events: Events, *, store_id: str, key: bytes, forgotten: Mapping[bytes, int] | None = None
    ) -> None:
        """Pack `events`; may run in a thread. `forgotten` has the sequence of the forgetting for each `user_hash`.

        Cost: O(n log n); .3 s and 40 MB at its height for 1,000,000 events of 50,000 users.
        """
        self.store_id = store_id
        self.item_ids: list[str] = []
        self.n_events = 0
        self.sequence = max((forgotten or {}).values(), default=0)
        self._key = key
        self._forgotten = dict(forgotten or {})
        self._last_forgotten = self.sequence
        self._item_numbers: dict[str, int] = {}
        self._events: dict[str, bytearray] = {}
        self.extend(events)

    def extend(self, events: Events) -> None:
        """Take in many events at once, as another process has stored them. A user's events that are here already are
        passed over. Cost: O(n log n), some 3 µs for each user of a few events.
        """
        numbers = np.array([self._number(item_id) for item_id in events.item_ids], np.int32)
        for user_id, records in _packed(events, numbers):
            mine = self._events.get(user_id)
            known = _size_up_to(records, _sequence_at(mine, _LAST)) if mine is not None else 0
            self._append(user_id, mine, records[known:])
        if events.size:
            self.sequence = max(self.sequence, int(events.sequences[-1]))

    def apply(self, events: Sequence[Event]) -> None:
        """Take in what was just stored, in order of sequence. An event that is here already is passed over.

        Cost: 1 to 3 µs an event.
        """
        for event in events:
            mine = self._events.get(event.user_id)
            if mine is not None and event.sequence <= _sequence_at(mine, _LAST):
                continue
            value = math.nan if event.value is None else event.value
            record = _EVENT.pack(self._number(event.item_id), value, event.timestamp, event.sequence)
            self._append(event.user_id, mine, record)
            self.sequence = max(self.sequence, event.sequence)

    def forget(self, user_id: str | None, hashed: bytes, sequence: int) -> None:
        """Drop a user's events up to `sequence`, and silence every history of theirs from before it.

        `user_id` None: another process forgot the user, and only the hash is known. The user is then looked for, at the
        cost of a hash for each one here.
        """
        if user_id is None:
            user_id = next((other for other in self._events if user_hash(self._key, other) == hashed), None)
        if user_id is not None and (events := self._events.pop(user_id, None)) is not None:
            size = _size_up_to(events, sequence)
            self.n_events -= size // _EVENT.size
            if size < len(events):
                self._events[user_id] = events[size:]
        self._forgotten[hashed] = sequence
        self._last_forgotten = max(self._last_forgotten, sequence)
        self.sequence = max(self.sequence, sequence)

    def is_silenced(self, user_id: str, cutoff: int) -> bool:
        """Whether a user was forgotten after `cutoff`, so that a history from before does not count.

        Free while nobody was forgotten after the served model's cutoff; else a hash.
        """
        if self._last_forgotten <= cutoff:
            return False
        return self._forgotten.get(user_hash(self._key, user_id), 0) > cutoff

    def latest(self, user_id: str) -> int:
        """The sequence of a user's newest event; 0 without one. Cost: one look-up, asked at every request."""
        events = self._events.get(user_id)
        return _sequence_at(events, _LAST) if events is not None else 0

    def of_user(self, user_id: str, after: int = 0) -> UserEvents:
        """A user's events with a sequence above `after`, items numbered as in `item_ids`. Cost: a copy of them."""
        events = self._events.get(user_id, b"")
        # a slice, copied in one step of the interpreter: a view would forbid another thread to append meanwhile
        rows = np.frombuffer(bytes(events[_size_up_to(events, after) :]), _COLUMNS)
        return UserEvents(rows["items"], rows["values"], rows["timestamps"])

    def live_of_user(self, user_id: str) -> UserRatings:
        """A user's ratings as they stand by feedback alone, oldest first, items numbered as in `item_ids`."""
        return merge_history(*_NO_HISTORY, self.of_user(user_id))

    def blocks(self) -> Iterator[EventBlock]:
        """All events, some users at a time. May run in another thread: each user's are copied in one step of the
        interpreter, so nothing is seen by half. Memory: 1 MB, or what the user with the most events has.
        """
        block: list[bytes] = []
        n_bytes = 0
        for events in list(self._events.values()):
            block.append(bytes(events))
            n_bytes += len(block[-1])
            if n_bytes >= _EVENTS_AT_ONCE * _EVENT.size:
                yield _unpacked(block)
                block, n_bytes = [], 0
        yield _unpacked(block)

    def _number(self, item_id: str) -> int:
        number = self._item_numbers.setdefault(item_id, len(self.item_ids))
        if number == len(self.item_ids):
            self.item_ids.append(item_id)
        return number

    def _append(self, user_id: str, mine: bytearray | None, records: _Records) -> None:
        if mine is None:
            self._events[user_id] = bytearray(records)
        else:
            mine += records
        self.n_events += len(records) // _EVENT.size


def _sequence_at(events: _Records, start: int) -> int:
    """The sequence of the event whose record begins at `start`."""
    sequence: int = _SEQUENCE.unpack_from(events, start + _EVENT.size - _SEQUENCE.size)[0]
    return sequence


def _size_up_to(events: _Records, sequence: int) -> int:
    """The bytes that a user's events up to `sequence` take."""
    starts = range(0, len(events), _EVENT.size)
    return _EVENT.size * bisect_right(starts, sequence, key=lambda start: _sequence_at(events, start))


def _packed(events: Events, numbers: Int32) -> Iterator[tuple[str, memoryview]]:
    """The id and the events of each user who has any, items numbered by `numbers`; some users at a time, for the sake
    of memory.
    """
    order = np.argsort(events.users, kind="stable")
    ends = np.cumsum(np.bincount(events.users, minlength=len(events.user_ids)))
    user, start = 0, 0
    while start < order.size:
        last = max(user + 1, int(np.searchsorted(ends, start + _EVENTS_AT_ONCE, side="right")))
        rows = order[start : ends[last - 1]]
        block = np.empty(rows.size, _COLUMNS)
        block["items"] = numbers[events.items[rows]]
        block["values"] = events.values[rows]
        block["timestamps"] = events.timestamps[rows]
        block["sequences"] = events.sequences[rows]
        content, at = memoryview(block.tobytes()), 0
        for user_id, end in zip(events.user_ids[user:last], (ends[user:last] - start).tolist(), strict=True):
            if end > at:
                yield user_id, content[at * _EVENT.size : end * _EVENT.size]
                at = end
        user, start = last, int(ends[last - 1])


def _unpacked(block: Sequence[bytes]) -> EventBlock:
    rows = np.frombuffer(b"".join(block), _COLUMNS)
    counts = np.array([len(events) // _EVENT.size for events in block], np.int64)
    users = np.repeat(np.arange(len(block), dtype=np.int32), counts)
    return EventBlock(users, rows["items"], rows["values"], rows["timestamps"])
