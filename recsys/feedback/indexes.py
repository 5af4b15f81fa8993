"""The indexes of the events, by user and by event name: tables of their own, which follow in bulk.

In either index each rating has a place of its own, and a commit writes whole pages: were they kept with every rating, a
group of sixteen would write fifty pages. So the store says up to which sequence events have settled; what came since is
looked for among the events themselves. Some thousands are settled at a time, a few with each commit and in the order of
the index, so that a page is written once for many. Source: the rolling merge of P. O'Neil, E. Cheng, D. Gawlick and
E. O'Neil, "The log-structured merge-tree", Acta Informatica 33 (1996).

An index may hold events that have not settled yet, those of a merge under way: whoever looks there and among the events
may find them twice.
"""

import sqlite3
from collections.abc import Iterable, Mapping

#: The sequences of one user's events, `?1`.
OF_USER = """
SELECT sequence FROM user_events WHERE uid = ?1
UNION ALL SELECT sequence FROM events WHERE uid = ?1 AND sequence > (SELECT settled FROM store)"""
#: So many events wait before they are settled. More, and whoever looks for one user's goes through more of them.
_WAITING = 8192
#: So many are settled for each that comes: a merge is over before as many wait again.
_SETTLED_PER_EVENT = 2
#: What a merge settles, in the order of either index: tables of the connection, in memory.
_WANTED = (
    "CREATE TEMP TABLE wanted_events (n INTEGER PRIMARY KEY, sequence INTEGER NOT NULL)",
    "CREATE TEMP TABLE wanted_keys (n INTEGER PRIMARY KEY, sequence INTEGER NOT NULL)",
)
_WANT = (
    """INSERT INTO wanted_events (sequence) SELECT sequence FROM events
    WHERE sequence > ?1 AND sequence <= ?2 ORDER BY uid, iid, sequence""",
    """INSERT INTO wanted_keys (sequence) SELECT sequence FROM events
    WHERE sequence > ?1 AND sequence <= ?2 AND event_key IS NOT NULL ORDER BY event_key""",
)
#: What was forgotten meanwhile is not among the events any more.
SETTLE = (
    """INSERT OR IGNORE INTO user_events SELECT uid, iid, sequence
    FROM wanted_events CROSS JOIN events USING (sequence) WHERE n > {0} AND n <= {1} ORDER BY n""",
    """INSERT OR REPLACE INTO event_keys SELECT event_key, sequence
    FROM wanted_keys CROSS JOIN events USING (sequence) WHERE n > {0} AND n <= {1} ORDER BY n""",
)
_DONE = ("DELETE FROM wanted_events", "DELETE FROM wanted_keys")
#: All in one step: at each a busy event loop may keep the interpreter's lock for half a millisecond.
_NAMED = """
SELECT ifnull(group_concat(hex(event_key), ' '), ''), ifnull(group_concat(sequence, ' '), '')
FROM events WHERE sequence > ? AND event_key IS NOT NULL"""


class Indexes:
    """Both indexes, as one writing connection brings them on. All of it belongs into a transaction of that connection,
    and none of it outlives one that failed.

    The names of events that have not settled are kept here, some 150 bytes each.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        #: Up to which sequence events have settled.
        self.settled = 0
        self._known = 0
        #: The names of events, and their sequences: of those that came since the last merge began, and of that merge.
        self._recent: dict[bytes, int] = {}
        self._merging: dict[bytes, int] = {}
        #: The merge under way: up to which sequence, and how many of how many are settled.
        self._up_to, self._place, self._size = 0, 0, 0
        for statement in _WANTED:
            db.execute(statement)

    def begin(self, sequence: int, settled: int) -> None:
        """Take in what others have written: the store has come to `sequence`, and has settled up to `settled`."""
        if settled > self.settled:
            self.settled = settled
            self._recent = {name: number for name, number in self._recent.items() if number > settled}
        if self._known < sequence:
            names, numbers = self._db.execute(_NAMED, (max(self._known, self.settled),)).fetchone()
            self.name(zip(map(bytes.fromhex, names.split()), map(int, numbers.split()), strict=True))
            self._known = sequence

    def name(self, named: Iterable[tuple[bytes, int]]) -> None:
        """Remember the names of events, and their sequences."""
        self._recent.update(named)

    def unsettled(self, keys: Iterable[bytes]) -> list[int]:
        """Return the sequences of events with these names that may not be in the index yet."""
        found = (self._recent.get(key) or self._merging.get(key) for key in keys)
        return [sequence for sequence in found if sequence is not None]

    def knows_any(self, named: Mapping[bytes, int]) -> bool:
        """Whether `unsettled` would find any of these names, for a fifth of the time."""
        names = named.keys()
        return not (self._recent.keys().isdisjoint(names) and self._merging.keys().isdisjoint(names))

    def bring_on(self, sequence: int) -> None:
        """Settle a few: the store has come to `sequence`. Cost: some 5 µs for each event that came."""
        n_new, self._known = sequence - self._known, sequence
        if not self._up_to and sequence - self.settled >= _WAITING:
            self._want(sequence)
        if self._up_to:
            self._settle(_SETTLED_PER_EVENT * n_new)

    def steady(self, before: int, n: int) -> tuple[int, int] | None:
        """If the store has come to `before` as far as is known here, and neither does a merge begin nor the one under
        way end with the next `n` events: between which places of the merge they settle, (0, 0) without one.
        """
        if self._known != before:
            return None
        if self._up_to:
            place = self._place + _SETTLED_PER_EVENT * n
            return (self._place, place) if place < self._size else None
        return (0, 0) if before + n - self.settled < _WAITING else None

    def went_on(self, sequence: int, place: int) -> None:
        """The store has come to `sequence`, and the merge under way to `place`: what `steady` gave was done."""
        self._known, self._place = sequence, place

    def settle(self, sequence: int) -> None:
        """Settle all of them, for somebody with many to look for."""
        if self._up_to:
            self._settle(self._size)
        if self.settled < sequence:
            self._want(sequence)
            self._settle(self._size)

    def _want(self, up_to: int) -> None:
        """Begin a merge."""
        self._up_to, self._place = up_to, 0
        self._size = max(self._db.execute(statement, (self.settled, up_to)).rowcount for statement in _WANT)
        self._merging, self._recent = self._recent, {}

    def _settle(self, n: int) -> None:
        """Go on with the merge by `n` events, and end it after the last."""
        for statement in SETTLE:
            self._db.execute(statement.format("?1", "?2"), (self._place, self._place + n))
        self._place += n
        if self._place >= self._size:
            for statement in _DONE:
                self._db.execute(statement)
            self.settled, self._up_to, self._merging = max(self.settled, self._up_to), 0, {}
