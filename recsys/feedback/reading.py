"""Reading a feedback database, from any thread and any process, whether or not somebody writes to it.

Each method takes a short-lived read-only connection and sees one moment of the store. Must not write.
"""

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from recsys.datasets.events import Event, Events, ItemChange
from recsys.datasets.ratings import Int32, Int64, freeze
from recsys.feedback.changes import Changes, Forgotten
from recsys.feedback.database import connect_to_read, corrupt, translating
from recsys.feedback.schema import Identity, read_identity

_CHUNK = 5000
_LAST = 2**63 - 1
#: A column of a chunk as one text of numbers, which numpy parses: half the time of a million rows of Python objects,
#: and SQLite works without the GIL. A row is found by its sequence, so the scan is in that order. SQLite takes as long
#: to write one fraction as all the other numbers of a row, so whole ratings go as integers.
_COLUMNS = """
SELECT count(*), group_concat(uid), group_concat(iid), group_concat(
    CASE CAST(value AS INTEGER) WHEN value THEN CAST(value AS INTEGER) ELSE ifnull(value, 'nan') END),
    group_concat(timestamp)
FROM events NOT INDEXED WHERE sequence > ? AND sequence <= ?"""
_SEQUENCES = "SELECT group_concat(sequence) FROM events NOT INDEXED WHERE sequence > ? AND sequence <= ?"
_EVENTS = """
SELECT user_id, item_id, value, timestamp, sequence FROM events JOIN users USING (uid) JOIN items USING (iid)
WHERE {} ORDER BY sequence"""


class FeedbackReader:
    """What is in the store. `sequence` bounds are exclusive below (`after`) and inclusive above (`up_to`)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: Identity | None = None

    @property
    def store_id(self) -> str:
        """The store's name, for cutoffs: another file has another."""
        return self.identity().store_id

    @property
    def key(self) -> bytes:
        """What forgotten users are hashed with."""
        return self.identity().key

    def identity(self) -> Identity:
        if self._identity is None:
            with self._reading() as db:
                self._identity = read_identity(db)
            if self._identity is None:
                raise corrupt(self.path, "has lost its identity")
        return self._identity

    @property
    def sequence(self) -> int:
        """The number of the last change. A service compares it with what it has in memory to learn, for some 200 µs,
        whether another process has written; `changes` then gives what.
        """
        with self._reading() as db:
            return _sequence(db)

    def changes(self, after: int = 0, *, up_to: int | None = None, most: int | None = None) -> Changes:
        """Return everything written after a sequence, as of one moment; at most `most` sequence numbers on, for a
        reader who must not take too much at once. Its `sequence` is where to go on from.
        """
        with self._reading() as db:
            last = max(after, min(_sequence(db), _LAST if up_to is None else up_to))
            if most is not None:
                last = min(last, after + most)
            return Changes(_events(db, after, last), _items(db, after, last), _forgotten(db, after, last), last)

    def events(self, after: int = 0, *, up_to: int | None = None) -> Events:
        """Return events as columns, in order of sequence.

        Errors: FeedbackUnavailableError, FeedbackCorruptError. Cost: about a second for 1,000,000, and little memory
        beside the columns.
        """
        with self._reading() as db:
            return _events(db, after, min(_sequence(db), _LAST if up_to is None else up_to))

    def items(self) -> tuple[ItemChange, ...]:
        """Return what was said of items by hand, the last word on each."""
        with self._reading() as db:
            return _items(db, 0, _LAST)

    def forgotten(self) -> tuple[Forgotten, ...]:
        """Return whom to forget, each with the last time it was asked."""
        with self._reading() as db:
            return _forgotten(db, 0, _LAST)

    def in_chunks(self, *, up_to: int | None = None, size: int = _CHUNK) -> Iterator[tuple[Event, ...]]:
        """Go through all events in order, in bounded memory, holding no snapshot between two chunks."""
        last, end = 0, self.sequence if up_to is None else up_to
        query = _EVENTS.format("sequence > ? AND sequence <= ?") + " LIMIT ?"
        while True:
            with self._reading() as db:
                chunk = tuple(Event(*row) for row in db.execute(query, (last, end, size)))
            if not chunk:
                return
            yield chunk
            last = chunk[-1].sequence

    def shown_counts(self) -> dict[tuple[str, str, str], int]:
        """Return how often each (model_version, strategy, kind) was counted."""
        with self._reading() as db:
            rows = db.execute("SELECT model_version, strategy, kind, count FROM shown_counts")
            return {(version, strategy, kind): count for version, strategy, kind, count in rows}

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with translating(self.path), closing(connect_to_read(self.path)) as db:
            db.execute("BEGIN")
            yield db


def _sequence(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT sequence FROM store").fetchone()[0])


class _Chunk(NamedTuple):
    """Some events that follow each other: columns as texts, and their sequences, int64 [size]."""

    size: int
    texts: Sequence[str]
    sequences: Int64


def _read_chunk(db: sqlite3.Connection, after: int, last: int) -> _Chunk:
    bounds = (after, min(after + _CHUNK, last))
    size, *texts = db.execute(_COLUMNS, bounds).fetchone()
    if size in (0, bounds[1] - after):  # none is missing, as where nothing was forgotten: then they need not be read
        return _Chunk(size, texts, np.arange(after + 1, after + 1 + size))
    (text,) = db.execute(_SEQUENCES, bounds).fetchone()
    return _Chunk(size, texts, np.fromstring(text, np.int64, sep=","))


def _chunks(db: sqlite3.Connection, after: int, last: int, size: int) -> Generator[_Chunk]:
    """Give `size` events from between two sequences, some at a time; the next are read while these are parsed."""
    if not size:
        return
    with ThreadPoolExecutor(1, thread_name_prefix="feedback-reader") as beside:
        read = beside.submit(_read_chunk, db, after, last)
        while size > 0 and after < last:
            chunk = read.result()
            after, size = after + _CHUNK, size - chunk.size
            read = beside.submit(_read_chunk, db, after, last)
            if chunk.size:
                yield chunk


def _events(db: sqlite3.Connection, after: int, last: int) -> Events:
    bounds = (after, last)
    (size,) = db.execute("SELECT count(*) FROM events WHERE sequence > ? AND sequence <= ?", bounds).fetchone()
    uids, iids = np.empty(size, np.int32), np.empty(size, np.int32)
    values, timestamps, sequences = np.empty(size, np.float32), np.empty(size, np.int64), np.empty(size, np.int64)
    columns: tuple[NDArray[Any], ...] = (uids, iids, values, timestamps)
    filled = 0
    with closing(_chunks(db, after, last, size)) as chunks:
        for chunk in chunks:
            rows = slice(filled, filled + chunk.size)
            for column, text in zip(columns, chunk.texts, strict=True):
                column[rows] = np.fromstring(text, column.dtype, sep=",")
            sequences[rows] = chunk.sequences
            filled += chunk.size
    if filled != size:
        raise sqlite3.DatabaseError(f"{size} ratings were counted and {filled} found")
    users, user_ids = _named(db, uids, "SELECT user_id FROM users WHERE uid IN (SELECT value FROM json_each(?))")
    items, item_ids = _named(db, iids, "SELECT item_id FROM items WHERE iid IN (SELECT value FROM json_each(?))")
    for column in (users, items, values, timestamps, sequences):
        freeze(column)
    return Events(users, items, values, timestamps, sequences, user_ids, item_ids)


def _named(db: sqlite3.Connection, numbers: Int32, query: str) -> tuple[Int32, tuple[str, ...]]:
    """Replace a column of row numbers by positions in the texts that they stand for, in order of row number."""
    wanted, positions = _distinct(numbers)
    rows = db.execute(f"{query} ORDER BY rowid", (orjson.dumps(wanted.tolist()).decode(),))
    return positions, tuple(text for (text,) in rows)


def _distinct(numbers: Int32) -> tuple[Int32, Int32]:
    """The different row numbers in order, and of each number its position in them. Cost: O(n) for many, as they are
    dense then; sorting a million would take a tenth of a second.
    """
    if not numbers.size or numbers.min() < 0 or numbers.max() > 8 * numbers.size:
        wanted, positions = np.unique(numbers, return_inverse=True)
        return wanted, positions.astype(np.int32)
    occurs = np.zeros(int(numbers.max()) + 1, np.bool_)
    occurs[numbers] = True
    place = np.cumsum(occurs, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(occurs).astype(np.int32), place[numbers]


def _items(db: sqlite3.Connection, after: int, last: int) -> tuple[ItemChange, ...]:
    rows = db.execute(
        "SELECT item_id, title, year, genres, imdb_id, tmdb_id, withdrawn, sequence"
        " FROM catalogue JOIN items USING (iid) WHERE sequence > ? AND sequence <= ? ORDER BY sequence",
        (after, last),
    )
    return tuple(
        ItemChange(item_id, title, year, tuple(orjson.loads(genres)), imdb_id, tmdb_id, bool(withdrawn), sequence)
        for item_id, title, year, genres, imdb_id, tmdb_id, withdrawn, sequence in rows
    )


def _forgotten(db: sqlite3.Connection, after: int, last: int) -> tuple[Forgotten, ...]:
    rows = db.execute(
        "SELECT hash, sequence FROM forgotten JOIN users USING (uid) WHERE sequence > ? AND sequence <= ?"
        " ORDER BY sequence",
        (after, last),
    )
    return tuple(Forgotten(digest, sequence) for digest, sequence in rows)
