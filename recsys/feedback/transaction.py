"""What each kind of change does to the tables, within one commit.

Each change is kept whole or not at all, whatever becomes of the others. Must not begin, commit, or open anything.
"""

import hashlib
import math
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import cast

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
from recsys.feedback.many import Lookup, add, find

#: A rating as it came: user, item, value, unix seconds.
_Came = tuple[str, str, float, int]
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
        # the numbers of users and items, only for this commit: another process may forget a user before the next
        self.uids: dict[str, int] = {}
        self.iids: dict[str, int] = {}
        self._forgotten: dict[str, int] = {}

    def apply(self, changes: Sequence[Change]) -> tuple[Outcome, ...]:
        """Do changes in order. One that cannot be kept leaves no trace, and its outcome says why."""
        outcomes: list[Outcome] = []
        for are_ratings, group in groupby(changes, key=lambda change: isinstance(change, PutRatings)):
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
            self.uids.clear()
            self.iids.clear()
            self._forgotten.clear()
            outcome = _refused(error)
        self.db.execute("RELEASE change")
        return outcome

    def _do(self, change: Change) -> Outcome:
        match change:
            case PutRatings():
                return self._put_ratings([change])[0]
            case DeleteRating(user_id, item_id):
                deleted = Event(user_id, item_id, None, self.now, self._next())
                self.number((user_id,), (item_id,))
                self._add([(deleted, None)])
                return Outcome(accepted=1, events=(deleted,))
            case ForgetUser(user_id):
                return self._forget(user_id)
            case PutItem(item):
                return self._put_item(item)
            case RecordShown(shown):
                new = tuple(one for one in shown if self._is_new(one))
                self.db.execute("DELETE FROM shown WHERE n <= (SELECT max(n) FROM shown) - ?", (_SHOWN_KEPT,))
                return Outcome(accepted=len(new), duplicates=len(shown) - len(new), shown=new)

    def number(self, user_ids: Collection[str], item_ids: Collection[str]) -> None:
        """Have a number for each of these, in `uids` and `iids`: users become known by it."""
        self._look_up((), user_ids, item_ids)
        self._number_users(user_ids)
        self._number_items(item_ids)

    def forgotten_among(self, user_ids: Iterable[str]) -> set[str]:
        """Return those who were forgotten, whether or not they came back."""
        hashes = {digest for (digest,) in self.db.execute("SELECT hash FROM forgotten JOIN users USING (uid)")}
        return {user_id for user_id in user_ids if user_hash(self._key, user_id) in hashes} if hashes else set()

    def _next(self) -> int:
        self.sequence += 1
        return self.sequence

    def _put_ratings(self, changes: Sequence[PutRatings]) -> list[Outcome]:
        """Keep the ratings of many changes in few steps. What is wrong with one is found before anything is written."""
        keys = [self._event_keys(change) for change in changes]
        sound = [(change, of) for change, of in zip(changes, keys, strict=True) if isinstance(of, list)]
        ratings = [rating for change, _ in sound for rating in change.ratings]
        known = self._look_up(
            [key for _, of_change in sound for key in of_change if key is not None],
            {rating.user_id for rating in ratings},
            {rating.item_id for rating in ratings},
        )
        came: dict[bytes, _Came] = {}
        outcomes, added = [], []
        for change, of_change in zip(changes, keys, strict=True):
            if isinstance(of_change, Outcome):
                outcomes.append(of_change)
                continue
            try:
                new = self._new_among(change.ratings, of_change, known, came)
            except EventConflictError as error:
                outcomes.append(Outcome(error=error))
                continue
            came.update((key, rating) for rating, key in new if key is not None)
            events = tuple(Event(*rating, self._next()) for rating, _ in new)
            added += [(event, key) for event, (_, key) in zip(events, new, strict=True)]
            outcomes.append(Outcome(accepted=len(events), duplicates=len(change.ratings) - len(events), events=events))
        self._add(added)
        return outcomes

    def _event_keys(self, change: PutRatings) -> "list[bytes | None] | Outcome":
        """Return the key of each rating's event, or what becomes of ratings that cannot be stored."""
        keys: list[bytes | None] = []
        try:
            for rating in change.ratings:
                _check_storable(rating)
                name = rating.event_id
                key = None if name is None else hashlib.blake2b(name.encode(), digest_size=16, key=self._key).digest()
                keys.append(key)
        except (ValueError, OverflowError) as error:
            return _refused(error)
        return keys

    def _new_among(
        self, ratings: Sequence[Rating], keys: Sequence[bytes | None], known: set[bytes], came: dict[bytes, _Came]
    ) -> list[tuple[_Came, bytes | None]]:
        """Return those of a change that were not counted before: neither in the store, which holds `known`, nor in
        this group, nor further up in the same change. Errors: EventConflictError.
        """
        new: list[tuple[_Came, bytes | None]] = []
        mine: dict[bytes, _Came] = {}
        for number, (rating, key) in enumerate(zip(ratings, keys, strict=True)):
            timestamp = self.now if rating.timestamp is None else rating.timestamp
            this = (rating.user_id, rating.item_id, rating.value, timestamp)
            if key is not None:
                before = mine.get(key) or came.get(key)
                if before is None and key in known:
                    before = self.db.execute(_SAME_EVENT, (key,)).fetchone()
                if before is not None:
                    _refuse_another(rating, before, number)
                    continue
                mine[key] = this
            new.append((this, key))
        return new

    def _look_up(self, keys: Sequence[bytes], user_ids: Iterable[str], item_ids: Iterable[str]) -> set[bytes]:
        """Return those of `keys` that are there, and learn the numbers of users and items, all in one step."""
        users = [user_id for user_id in user_ids if user_id not in self.uids]
        items = [item_id for item_id in item_ids if item_id not in self.iids]
        digests = [user_hash(self._key, user_id) for user_id in users]
        found_keys, found_users, found_items = find(
            self.db,
            Lookup("events", "event_key", keys),
            Lookup("users", "hash", digests, ("uid", "(typeof(user_id) = 'blob')")),
            Lookup("items", "item_id", items, ("iid",)),
        )
        for position, (uid, was_forgotten) in found_users.items():
            (self._forgotten if was_forgotten else self.uids)[users[position]] = uid
        self.iids.update((items[position], iid) for position, (iid,) in found_items.items())
        return {keys[position] for position in found_keys}

    def _add(self, events: Sequence[tuple[Event, bytes | None]]) -> None:
        """Add events of users and items that were looked up."""
        self._number_users(dict.fromkeys(event.user_id for event, _ in events))
        self._number_items(dict.fromkeys(event.item_id for event, _ in events))
        rows = [
            (event.sequence, self.uids[event.user_id], self.iids[event.item_id], event.value, event.timestamp, key)
            for event, key in events
        ]
        add(self.db, "events", rows)

    def _number_users(self, user_ids: Iterable[str]) -> None:
        """Have a number for each of these users, who were looked up."""
        missing = [user_id for user_id in user_ids if user_id not in self.uids]
        new = [user_id for user_id in missing if user_id not in self._forgotten]
        if new:
            first = self._after("uid", "users")
            rows = [(uid, user_hash(self._key, user_id), user_id) for uid, user_id in enumerate(new, first)]
            add(self.db, "users (uid, hash, user_id)", rows)
            self.uids.update((user_id, uid) for uid, _, user_id in rows)
        for user_id in self._forgotten.keys() & set(missing):  # they are back
            uid = self.uids[user_id] = self._forgotten.pop(user_id)
            self.db.execute("UPDATE users SET user_id = ? WHERE uid = ?", (user_id, uid))

    def _number_items(self, item_ids: Iterable[str]) -> None:
        """Have a number for each of these items, which were looked up."""
        new = [item_id for item_id in item_ids if item_id not in self.iids]
        if new:
            first = self._after("iid", "items")
            add(self.db, "items", list(enumerate(new, first)))
            self.iids.update((item_id, iid) for iid, item_id in enumerate(new, first))

    def _after(self, column: str, table: str) -> int:
        row = self.db.execute(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}").fetchone()  # noqa: S608  ours
        return int(row[0])

    def _forget(self, user_id: str) -> Outcome:
        """The row of the user stays, for its hash, and keeps its size, so that no page is rearranged."""
        self.number((user_id,), ())
        uid = self.uids.pop(user_id)
        sequence = self._next()
        self.db.execute("DELETE FROM events WHERE uid = ?", (uid,))
        self.db.execute("UPDATE users SET user_id = zeroblob(length(CAST(user_id AS BLOB))) WHERE uid = ?", (uid,))
        self.db.execute("REPLACE INTO forgotten VALUES (?, ?)", (uid, sequence))
        return Outcome(accepted=1, forgotten=Forgotten(user_hash(self._key, user_id), sequence, user_id))

    def _put_item(self, item: ItemChange) -> Outcome:
        item = replace(item, sequence=self._next())
        said = (item.title, item.year, orjson.dumps(item.genres).decode(), item.imdb_id, item.tmdb_id)
        self.number((), (item.item_id,))
        row = (self.iids[item.item_id], *said, item.withdrawn, item.sequence)
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


def _check_storable(rating: Rating) -> None:
    """Errors: ValueError, OverflowError for what the database would not take, or not give back."""
    finite(rating.value)
    for text in (rating.user_id, rating.item_id):
        text.encode()
    if rating.timestamp is not None and not -(2**63) <= rating.timestamp < 2**63:
        raise OverflowError("a time beyond 64 bits")


def _refuse_another(rating: Rating, known: _Came, number: int) -> None:
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
