"""The edge to SQLite: how a connection is opened, and what its errors mean to us.

Never open the database file by other means while a connection of this process may be open: closing the handle would
drop SQLite's POSIX locks, and another process could then delete a journal that is in use. So sizes come from `stat`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.errors import FeedbackCorruptError, FeedbackUnavailableError

#: In the state directory. SQLite keeps two more files beside it, `-wal` and `-shm`.
FILE_NAME = "feedback.sqlite"
_STATE_HINT = "RECSYS_PATHS__STATE names its directory"
_RECOVER_HINT = (
    "move {name}, {name}-wal and {name}-shm away together, then restore a backup or rebuild it from them with the"
    " sqlite3 command .recover; RECSYS_FEEDBACK__ENABLED=false serves without taking ratings"
)
_READ_WAIT_S = 5.0
_INDEX_BYTES = 2**15
_NO_INDEX = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL)
_REASONS = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_READONLY: "cannot be written, it is read-only",
    sqlite3.SQLITE_FULL: "cannot be written, the disk is full",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
}


def feedback_path(state: Path) -> Path:
    return state / FILE_NAME


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log beside a database; 0 when there is none."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def room_bytes(directory: Path) -> int:
    """How much may still be written to the disk that a directory is on."""
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open an existing database for writing, without transactions of Python's own."""
    return _connect(path, "mode=rw", busy_timeout_s)


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open an existing database for reading only. Cost: about 200 µs.

    SQLite wants a shared index beside it. Where that cannot be made, on a full or read-only disk, and there is no log
    to read, nobody can be writing either: then it is opened as one that does not change.
    """
    db = _connect(path, "mode=ro", _READ_WAIT_S)
    try:
        db.execute("PRAGMA schema_version").fetchone()
    except sqlite3.OperationalError as error:
        db.close()
        if _primary_code(error) not in _NO_INDEX or wal_bytes(path):
            raise
        return _connect(path, "mode=ro&immutable=1", _READ_WAIT_S)
    except BaseException:
        db.close()
        raise
    return db


def _connect(path: Path, query: str, busy_timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
    )
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def is_busy(error: sqlite3.Error) -> bool:
    return _primary_code(error) == sqlite3.SQLITE_BUSY


def corrupt(path: Path, problem: str, *, hint: str | None = None) -> FeedbackCorruptError:
    return FeedbackCorruptError(f"{path} {problem}", hint=hint or _RECOVER_HINT.format(name=path.name))


@contextmanager
def translating(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into our errors, with the reason."""
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise corrupt(path, f"is damaged: {error}") from error
        reason = _REASONS.get(_meant(code, path.parent), f"failed: {error}")
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        raise FeedbackUnavailableError(f"{path} {reason} ({name})", hint=_STATE_HINT) from error
    except OSError as error:
        raise FeedbackUnavailableError(f"{path}: {error.strerror or error}", hint=_STATE_HINT) from error


def _meant(code: int, directory: Path) -> int:
    """What is behind an error, where SQLite only says that the index beside the database could not be made."""
    if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        return code
    if not os.access(directory, os.W_OK):
        return sqlite3.SQLITE_READONLY
    return sqlite3.SQLITE_FULL if room_bytes(directory) < _INDEX_BYTES else code


def _primary_code(error: sqlite3.Error) -> int:
    """The kind of an error: the lower byte of what SQLite returns, 0 for one that Python itself raised."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
