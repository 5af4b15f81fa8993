"""What each kind of change does to the tables, within one commit.

Each change is kept whole or not at all, whatever becomes of the others. Must not begin, commit, or open anything.
"""

import hashlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, cast

import orjson

from recsys.datasets.events import Event, ItemChange
from recsys.errors import EventConflictError, InvalidInputError, Problem, RecsysError
from recsys.feedback.changes import (
    Change,
    DeleteRating,
    ForgetUser,
    Forgotten,
    Outcome,
    PutItem,
    PutRatings,
    RecordShown,
    Row,
    Shown,
    user_hash,
)
from recsys.feedback.indexes import OF_USER, Indexes
from recsys.feedback.many import add
from recsys.feedback.rows import as_rows, unstorable

#: A repeated impression or click is known as such among so many of the latest.
_SHOWN_KEPT = 1_000_000
#: What is to be kept is staged here, so that SQLite can look at all of it in one step; it is gone with the connection.
STAGE = """
CREATE TEMP TABLE incoming (
    n INTEGER PRIMARY KEY, hash BLOB, user_id TEXT, item_id TEXT, value REAL, timestamp INTEGER, event_key BLOB)"""
UNSTAGE = "DELETE FROM incoming"
#: What came before by one of the names that are staged; `?` are sequences, for those that no index has yet.
_KNOWN_EVENTS = """
SELECT event_key, user_id, item_id, value, timestamp
FROM events CROSS JOIN users USING (uid) CROSS JOIN items USING (iid)
WHERE sequence IN (
    SELECT sequence FROM incoming CROSS JOIN event_keys USING (event_key) UNION ALL SELECT value FROM json_each(?))"""
#: Users and items that are staged get a number. Who was forgotten is back by it.
KNOW = (
    """INSERT INTO users (hash, user_id) SELECT hash, user_id FROM incoming
    WHERE hash IS NOT NULL AND NOT EXISTS (SELECT 1 FROM users WHERE users.hash = incoming.hash)
    GROUP BY hash ORDER BY min(n)""",
    """UPDATE users SET user_id = incoming.user_id FROM incoming
    WHERE users.hash = incoming.hash AND typeof(users.user_id) = 'blob'""",
    """INSERT INTO items (item_id) SELECT item_id FROM incoming
    WHERE item_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM items WHERE items.item_id = incoming.item_id)
    GROUP BY item_id ORDER BY min(n)""",
)
#: Events are made of what is staged; they are numbered on from `{}`.
KEEP_EVENTS = """
INSERT INTO events
SELECT {} + n, uid, iid, value, timestamp, event_key
FROM incoming CROSS JOIN users USING (hash) CROSS JOIN items USING (item_id) ORDER BY n"""

_FORGET_EVENTS = (
    f"DELETE FROM event_keys WHERE event_key IN (SELECT event_key FROM events WHERE sequence IN ({OF_USER}))",  # noqa: S608  no value is in the text
    f"DELETE FROM events WHERE sequence IN ({OF_USER})",  # noqa: S608  nor here
    "DELETE FROM user_events WHERE uid = ?",
)


class _Came(NamedTuple):
    """A rating as it came before."""

    user_id: str
    item_id: str
    value: float
    timestamp: int


class Transaction:
    """The changes of one commit, in order. `sequence` is the last number given; `now` is the time of arrival."""

    def __init__(self, db: sqlite3.Connection, indexes: Indexes, key: bytes, sequence: int, now: int) -> None:
        self.db = db
        self.indexes = indexes
        self.sequence = sequence
        self._key = key
        self.now = now

    def apply(self, changes: Sequence[Change]) -> tuple[Outcome, ...]:
        """Do changes in order. One that cannot be kept leaves no trace, and its outcome says why."""
        outcomes: list[Outcome] = []
        for are_ratings, group in itertools.groupby(changes, key=lambda change: isinstance(change, PutRatings)):
            if are_ratings:
                outcomes += self._put_ratings(cast("list[PutRatings]", list(group)))
            else:
                outcomes += map(self._apply_one, group)
        return tuple(outcomes)

    def _apply_one(self, change: Change) -> Outcome:
        before = self.sequence
        self.db.execute("SAVEPOINT change")
        try:
            outcome = self._do(change)
        except (RecsysError, ValueError, OverflowError) as error:
            self.db.execute("ROLLBACK TO change")
            self.sequence = before
            outcome = _refused(error)
        self.db.execute("RELEASE change")
        return outcome

    def _do(self, change: Change) -> Outcome:
        match change:
            case PutRatings():
                return self._put_ratings([change])[0]
            case DeleteRating(user_id, item_id):
                item_id.encode()
                self._stage([Row(user_hash(self._key, user_id), user_id, item_id, None, self.now, None)])
                self._keep()
                return Outcome(accepted=1, events=(Event(user_id, item_id, None, self.now, self.sequence),))
            case ForgetUser(user_id):
                return self._forget(user_id)
            case PutItem(item):
                return self._put_item(item)
            case RecordShown(shown):
                new = tuple(one for one in shown if self._is_new(one))
                self.db.execute("DELETE FROM shown WHERE n <= (SELECT max(n) FROM shown) - ?", (_SHOWN_KEPT,))
                return Outcome(accepted=len(new), duplicates=len(shown) - len(new), shown=new)

    def number(self, user_ids: Iterable[str], item_ids: Iterable[str]) -> tuple[dict[str, int], dict[str, int]]:
        """Return the number of each of these users and of each of these items. They become known by it."""
        users = [(user_hash(self._key, user_id), user_id, None, None, None, None) for user_id in user_ids]
        self._stage([*users, *((None, None, item_id, None, None, None) for item_id in item_ids)])
        self._know()
        uids = self.db.execute("SELECT incoming.user_id, uid FROM incoming CROSS JOIN users USING (hash)").fetchall()
        iids = self.db.execute("SELECT item_id, iid FROM incoming CROSS JOIN items USING (item_id)").fetchall()
        return dict(uids), dict(iids)

    def forgotten_among(self, user_ids: Iterable[str]) -> set[str]:
        """Return those who were forgotten, whether or not they came back."""
        hashes = {digest for (digest,) in self.db.execute("SELECT hash FROM forgotten JOIN users USING (uid)")}
        return {user_id for user_id in user_ids if user_hash(self._key, user_id) in hashes} if hashes else set()

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _put_ratings(self, changes: Sequence[PutRatings]) -> list[Outcome]:
        """Keep the ratings of many changes in few steps. What is wrong with one is found before anything is kept."""
        rows_of = [self._rows(change) for change in changes]
        rows = _all_of(rows_of)
        self._stage(rows)
        keys = [row.event_key for row in rows if row.event_key is not None]
        unsettled = orjson.dumps(self.indexes.unsettled(keys)).decode()
        came = {key: _Came(*rating) for key, *rating in self.db.execute(_KNOWN_EVENTS, (unsettled,))}
        if came or len(set(keys)) < len(keys):  # something was sent again
            pairs = zip(changes, rows_of, strict=True)
            rows_of = [rows if isinstance(rows, Outcome) else _new_among(change, rows, came) for change, rows in pairs]
            rows = _all_of(rows_of)
            self._stage(rows)
        sequences = itertools.count(self.sequence + 1)
        self.indexes.name((row.event_key, n) for n, row in enumerate(rows, self.sequence + 1) if row.event_key)
        self._keep()
        return [
            rows if isinstance(rows, Outcome) else outcome_of(change, rows, sequences)
            for change, rows in zip(changes, rows_of, strict=True)
        ]

    def _rows(self, change: PutRatings) -> "Sequence[Row] | Outcome":
        """Return ratings as they are kept, or what becomes of those that cannot be."""
        try:
            return as_rows(change, self._key, self.now)
        except InvalidInputError as error:
            return Outcome(error=error)

    def _stage(self, rows: "Sequence[Row | tuple[object, ...]]") -> None:
        """Have these rows, and no others, in the table `incoming`, numbered from 1."""
        self.db.execute(UNSTAGE)
        add(self.db, f"incoming ({', '.join(Row._fields)})", rows)

    def _know(self) -> None:
        for statement in KNOW:
            self.db.execute(statement)

    def _keep(self) -> None:
        """Make events of what is staged."""
        self._know()
        self.sequence += self.db.execute(KEEP_EVENTS.format("?"), (self.sequence,)).rowcount

    def _forget(self, user_id: str) -> Outcome:
        """The row of the user stays, for its hash, and keeps its size, so that no page is rearranged."""
        uid = self.number((user_id,), ())[0][user_id]
        sequence = self._next()
        for statement in _FORGET_EVENTS:
            self.db.execute(statement, (uid,))
        self.db.execute("UPDATE users SET user_id = zeroblob(length(CAST(user_id AS BLOB))) WHERE uid = ?", (uid,))
        self.db.execute("REPLACE INTO forgotten VALUES (?, ?)", (uid, sequence))
        return Outcome(accepted=1, forgotten=Forgotten(user_hash(self._key, user_id), sequence, user_id))

    def _put_item(self, item: ItemChange) -> Outcome:
        item = replace(item, sequence=self._next())
        said = (item.title, item.year, orjson.dumps(item.genres).decode(), item.imdb_id, item.tmdb_id)
        iid = self.number((), (item.item_id,))[1][item.item_id]
        row = (iid, *said, item.withdrawn, item.sequence)
        self.db.execute("REPLACE INTO catalogue VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        return Outcome(accepted=1, item=item)

    def _is_new(self, shown: Shown) -> bool:
        """Count an item that was shown, unless it was counted. One answer's keys are neighbours: few pages change."""
        answer = hashlib.blake2b(shown.recommendation_id.encode(), digest_size=12, key=self._key).digest()
        what = hashlib.blake2b(f"{shown.kind} {shown.item_id}".encode(), digest_size=8, key=self._key).digest()
        if self.db.execute("INSERT OR IGNORE INTO shown (key) VALUES (?)", (answer + what,)).rowcount == 0:
            return False
        self.db.execute(
            "INSERT INTO shown_counts VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            (shown.model_version, shown.strategy, shown.kind),
        )
        return True


def _refused(error: Exception) -> Outcome:
    return Outcome(error=error if isinstance(error, RecsysError) else unstorable(error))


def _all_of(rows_of: "Iterable[Sequence[Row] | Outcome]") -> "list[Row]":
    return [row for rows in rows_of if not isinstance(rows, Outcome) for row in rows]


def _new_among(change: PutRatings, rows: "Sequence[Row]", came: "dict[bytes, _Came]") -> "list[Row] | Outcome":
    """Return those of a change that did not come before, neither before it, as `came` says, nor further up in it, or
    what becomes of a change that says something else than before. What is new is added to `came`.
    """
    new: list[Row] = []
    mine: dict[bytes, _Came] = {}
    for number, (rating, row) in enumerate(zip(change.ratings, rows, strict=True)):
        key = row.event_key
        if key is not None:
            before = mine.get(key) or came.get(key)
            if before is not None:
                # a resend need not repeat a time that the sender left to us
                if row[1:4] == before[:3] and rating.timestamp in (None, before.timestamp):
                    continue
                problem = Problem(f"body.ratings[{number}].event_id", "came in before with another rating")
                return Outcome(error=EventConflictError(f"{problem.where} {problem.problem}", problems=(problem,)))
            mine[key] = _Came(row.user_id, row.item_id, cast("float", row.value), row.timestamp)
        new.append(row)
    came |= mine
    return new


def outcome_of(change: PutRatings, rows: "Sequence[Row]", sequences: Iterator[int]) -> Outcome:
    events = tuple([Event(*row[1:5], next(sequences)) for row in rows])
    return Outcome(accepted=len(events), duplicates=len(change.ratings) - len(events), events=events)
