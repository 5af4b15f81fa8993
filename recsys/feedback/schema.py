"""The tables, how a database is made, and what is checked before one is trusted.

A database appears whole, by one rename, or not at all; so an empty file is a damaged one. What is not ours, is damaged
or has another schema is refused and left as it is.

Users are kept so that they can be forgotten. SQLite may leave copies of moved cells in the unused part of a page, where
`secure_delete` does not reach (seen: 1 of 2,000 deleted ids was still to be found). So the text of a user's id is only
ever appended, for which no cell is moved, and blanked in place; what is looked up is its keyed hash. So of somebody who
was forgotten there is a hash, and how long the id was. Event ids are kept as keyed hashes only.
"""

import fcntl
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from recsys.feedback.database import connect, connect_to_read, corrupt, translating, wal_bytes

#: A change of the tables takes the next number, and a step here that brings older databases there.
SCHEMA_VERSION = 2
_APPLICATION_ID = 0x52637346
_TABLES = """
CREATE TABLE store (
    only INTEGER PRIMARY KEY CHECK (only = 1), store_id TEXT NOT NULL, key BLOB NOT NULL, sequence INTEGER NOT NULL,
    settled INTEGER NOT NULL);
CREATE TABLE users (uid INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, user_id NOT NULL);
CREATE TABLE items (iid INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY, uid INTEGER NOT NULL, iid INTEGER NOT NULL, value REAL, timestamp INTEGER NOT NULL,
    event_key BLOB);
CREATE TABLE forgotten (uid INTEGER PRIMARY KEY, sequence INTEGER NOT NULL);
CREATE TABLE catalogue (
    iid INTEGER PRIMARY KEY, title TEXT NOT NULL, year INTEGER, genres TEXT NOT NULL, imdb_id TEXT, tmdb_id TEXT,
    withdrawn INTEGER NOT NULL, sequence INTEGER NOT NULL);
CREATE TABLE shown (n INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE shown_counts (
    model_version TEXT NOT NULL, strategy TEXT NOT NULL, kind TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (model_version, strategy, kind)) WITHOUT ROWID;
"""
#: The indexes of the events, see `indexes`.
_INDEXES = (
    """CREATE TABLE user_events (
    uid INTEGER NOT NULL, iid INTEGER NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (uid, iid, sequence)) WITHOUT ROWID""",
    "CREATE TABLE event_keys (event_key BLOB PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID",
)
#: From 1: there they were indexes of SQLite's own, whose order spares sorting.
_UPGRADE = (
    *_INDEXES,
    """INSERT INTO user_events SELECT uid, iid, sequence FROM events INDEXED BY events_by_user
    ORDER BY uid, iid, sequence""",
    """INSERT INTO event_keys SELECT event_key, sequence FROM events INDEXED BY events_by_key
    WHERE event_key IS NOT NULL ORDER BY event_key""",
    "DROP INDEX events_by_user",
    "DROP INDEX events_by_key",
    "ALTER TABLE store ADD COLUMN settled INTEGER NOT NULL DEFAULT 0",
    "UPDATE store SET settled = sequence",
)
_TABLE_NAMES = {"store", "users", "items", "events", "forgotten", "catalogue", "shown", "shown_counts"}
_INDEX_NAMES = {"user_events", "event_keys"}
#: How long an upgrade waits for somebody who writes, or upgrades.
_UPGRADE_WAIT_S = 60.0
_KEY_BYTES = 32
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """What makes one store this one: a random name, and the key that its hashes are made with."""

    store_id: str
    key: bytes = field(repr=False)


def ensure(path: Path) -> None:
    """Make an empty database if there is none, readable by its owner only. Safe for several processes at once.

    Errors: FeedbackUnavailableError; FeedbackCorruptError when only its log is there.
    """
    with translating(path):
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            if path.exists():
                return
            if wal_bytes(path):
                raise corrupt(path, f"is gone, and {path.name}-wal beside it holds ratings")
            _make(path)
            os.fsync(directory)
        finally:
            os.close(directory)


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(connect(temporary, busy_timeout_s=0)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; {_TABLES} {'; '.join(_INDEXES)}")
        row = (secrets.token_hex(16), secrets.token_bytes(_KEY_BYTES))
        db.execute("INSERT INTO store VALUES (1, ?, ?, 0, 0)", row)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    temporary.rename(path)


def upgrade(path: Path) -> None:
    """Bring a database that an earlier recsys wrote to this schema, whole or not at all; it was inspected before. Safe
    for several processes at once.

    Errors: FeedbackUnavailableError, FeedbackCorruptError. Cost: .2 ms if there is nothing to do; else a second
    for 1,000,000 ratings, in which nobody can write, and as much room again as the database takes.
    """
    with translating(path), closing(connect_to_read(path)) as db:
        if _version(db) == SCHEMA_VERSION:
            return
    with translating(path), closing(connect(path, busy_timeout_s=_UPGRADE_WAIT_S)) as db:
        db.execute("BEGIN IMMEDIATE")
        if _version(db) == SCHEMA_VERSION:  # somebody else was first
            return
        for statement in _UPGRADE:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")
    _log.info("brought the ratings file to this version", path=str(path), schema=SCHEMA_VERSION)


def inspect(path: Path) -> Identity:
    """Check a database without changing it: that it is ours, of this schema or one that can be upgraded, and whole in
    structure.

    Errors: FeedbackCorruptError, FeedbackUnavailableError. Cost: reads the whole file, .3 s for 1,000,000 ratings.
    """
    with translating(path):
        if path.stat().st_size == 0:
            raise corrupt(path, "is empty: it was cut off")
        try:
            with closing(connect_to_read(path)) as db:
                db.execute("BEGIN")
                return _inspect(path, db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            # the statements are right, so the file is not: SQLite says this of a format that it does not know
            raise corrupt(path, f"is damaged: {error}") from error


def _inspect(path: Path, db: sqlite3.Connection) -> Identity:
    (application,) = db.execute("PRAGMA application_id").fetchone()
    version = _version(db)
    if application != _APPLICATION_ID:
        raise corrupt(path, "is a database of something else", hint="move it away")
    if version not in (1, SCHEMA_VERSION):
        problem = f"has schema {version}, this version of recsys knows {SCHEMA_VERSION}"
        raise corrupt(path, problem, hint="run the version that wrote it, or move it away")
    wanted = _TABLE_NAMES | (_INDEX_NAMES if version == SCHEMA_VERSION else set())
    missing = wanted - {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if missing:
        raise corrupt(path, f"has no table {min(missing)}")
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise corrupt(path, f"is damaged: {found.splitlines()[-1]}")
    identity = read_identity(db)
    counts = "sequence, settled" if version == SCHEMA_VERSION else "sequence, 0"
    sequence, settled = db.execute(f"SELECT {counts} FROM store").fetchone() or (-1, 0)  # noqa: S608  no value is in the text
    (highest,) = db.execute("SELECT ifnull(max(sequence), 0) FROM events").fetchone()
    if identity is None or sequence < max(highest, settled):
        raise corrupt(path, "has lost its identity or its count")
    return identity


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def read_identity(db: sqlite3.Connection) -> Identity | None:
    row = db.execute("SELECT store_id, key FROM store").fetchone()
    if row is None or not isinstance(row[0], str) or not isinstance(row[1], bytes) or len(row[1]) != _KEY_BYTES:
        return None
    return Identity(*row)
