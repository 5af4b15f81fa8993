"""What each kind of change does to the tables, within one commit.

Each change is kept whole or not at all, whatever becomes of the others. Must not begin, commit, or open anything.
"""

import hashlib
import math
import sqlite3
from collections.abc import Iterable
from dataclasses import replace

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
    Rating,
    RecordShown,
    Shown,
    user_hash,
)

#: A repeated impression or click is known as such among so many of the latest.
_SHOWN_KEPT = 1_000_000
_SAME_EVENT = """
SELECT user_id, item_id, value, timestamp FROM events JOIN users USING (uid) JOIN items USING (iid)
WHERE event_key = ?"""


class Transaction:
    """The changes of one commit, in order. `sequence` is the last number given; `now` is the time of arrival."""

    def __init__(self, db: sqlite3.Connection, key: bytes, sequence: int, now: int) -> None:
        self.db = db
        self.sequence = sequence
        self._key = key
        self.now = now
        # only for this commit: another process may forget a user before the next
        self._uids: dict[str, int] = {}
        self._iids: dict[str, int] = {}

    def apply(self, change: Change) -> Outcome:
        """Do one change. One that cannot be kept leaves no trace, and its outcome says why."""
        before = self.sequence
        self.db.execute("SAVEPOINT change")
        try:
            outcome = self._do(change)
        except (RecsysError, ValueError, OverflowError) as error:
            self.db.execute("ROLLBACK TO change")
            self.sequence = before
            self._uids.clear()
            self._iids.clear()
            outcome = Outcome(error=error if isinstance(error, RecsysError) else unstorable(error))
        self.db.execute("RELEASE change")
        return outcome

    def _do(self, change: Change) -> Outcome:
        match change:
            case PutRatings(ratings):
                return self._put_ratings(ratings)
            case DeleteRating(user_id, item_id):
                return Outcome(accepted=1, events=(self._add(user_id, item_id, None, self.now, None),))
            case ForgetUser(user_id):
                return self._forget(user_id)
            case PutItem(item):
                return self._put_item(item)
            case RecordShown(shown):
                new = tuple(one for one in shown if self._is_new(one))
                self.db.execute("DELETE FROM shown WHERE n <= (SELECT max(n) FROM shown) - ?", (_SHOWN_KEPT,))
                return Outcome(accepted=len(new), duplicates=len(shown) - len(new), shown=new)

    def uid(self, user_id: str) -> int:
        """Return the number of a user, who becomes known by it."""
        if (uid := self._uids.get(user_id)) is not None:
            return uid
        digest = user_hash(self._key, user_id)
        row = self.db.execute("SELECT uid, user_id FROM users WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            uid = _new_row(self.db.execute("INSERT INTO users (hash, user_id) VALUES (?, ?)", (digest, user_id)))
        else:
            uid = int(row[0])
            if row[1] != user_id:  # somebody who was forgotten is back
                self.db.execute("UPDATE users SET user_id = ? WHERE uid = ?", (user_id, uid))
        self._uids[user_id] = uid
        return uid

    def iid(self, item_id: str) -> int:
        """Return the number of an item, which gets one if it has none."""
        if (iid := self._iids.get(item_id)) is not None:
            return iid
        row = self.db.execute("SELECT iid FROM items WHERE item_id = ?", (item_id,)).fetchone()
        iid = int(row[0]) if row else _new_row(self.db.execute("INSERT INTO items (item_id) VALUES (?)", (item_id,)))
        self._iids[item_id] = iid
        return iid

    def forgotten_among(self, user_ids: Iterable[str]) -> set[str]:
        """Return those who were forgotten, whether or not they came back."""
        hashes = {digest for (digest,) in self.db.execute("SELECT hash FROM forgotten JOIN users USING (uid)")}
        return {user_id for user_id in user_ids if user_hash(self._key, user_id) in hashes} if hashes else set()

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _put_ratings(self, ratings: tuple[Rating, ...]) -> Outcome:
        events = []
        for number, rating in enumerate(ratings):
            event_key = None
            if rating.event_id is not None:
                event_key = hashlib.blake2b(rating.event_id.encode(), digest_size=16, key=self._key).digest()
                known = self.db.execute(_SAME_EVENT, (event_key,)).fetchone()
                if known is not None:
                    _refuse_another(rating, known, number)
                    continue
            timestamp = self.now if rating.timestamp is None else rating.timestamp
            events.append(self._add(rating.user_id, rating.item_id, rating.value, timestamp, event_key))
        return Outcome(accepted=len(events), duplicates=len(ratings) - len(events), events=tuple(events))

    def _add(self, user_id: str, item_id: str, value: float | None, timestamp: int, event_key: bytes | None) -> Event:
        row = (self._next(), self.uid(user_id), self.iid(item_id), finite(value), timestamp, event_key)
        self.db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
        return Event(user_id, item_id, value, timestamp, self.sequence)

    def _forget(self, user_id: str) -> Outcome:
        """The row of the user stays, for its hash, and keeps its size, so that no page is rearranged."""
        uid = self.uid(user_id)
        sequence = self._next()
        self.db.execute("DELETE FROM events WHERE uid = ?", (uid,))
        self.db.execute("UPDATE users SET user_id = zeroblob(length(CAST(user_id AS BLOB))) WHERE uid = ?", (uid,))
        self.db.execute("REPLACE INTO forgotten VALUES (?, ?)", (uid, sequence))
        del self._uids[user_id]
        return Outcome(accepted=1, forgotten=Forgotten(user_hash(self._key, user_id), sequence, user_id))

    def _put_item(self, item: ItemChange) -> Outcome:
        item = replace(item, sequence=self._next())
        said = (item.title, item.year, orjson.dumps(item.genres).decode(), item.imdb_id, item.tmdb_id)
        row = (self.iid(item.item_id), *said, item.withdrawn, item.sequence)
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


def _refuse_another(rating: Rating, known: tuple[str, str, float, int], number: int) -> None:
    """A resend need not repeat a time that the sender left to us."""
    *same, timestamp = known
    if [rating.user_id, rating.item_id, rating.value] == same and rating.timestamp in (None, timestamp):
        return
    problem = Problem(f"body.ratings[{number}].event_id", "came in before with another rating")
    raise EventConflictError(f"{problem.where} {problem.problem}", problems=(problem,))


def finite(value: float | None) -> float | None:
    """Return a rating as it is. Errors: ValueError for NaN, which SQLite would keep as a deletion, and infinity."""
    if value is not None and not math.isfinite(value):
        raise ValueError(f"{value} is no rating")
    return value


def unstorable(error: Exception) -> InvalidInputError:
    """What validation lets through and the store cannot take: half a surrogate pair, a number beyond 64 bits."""
    return InvalidInputError(f"a value cannot be stored: {type(error).__name__}")


def _new_row(cursor: sqlite3.Cursor) -> int:
    if cursor.lastrowid is None:
        raise sqlite3.InternalError("a row that was added has no number")
    return cursor.lastrowid
