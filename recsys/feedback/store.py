"""The store that writes: many changes in one transaction and one fsync (WAL, `synchronous=FULL`).

Owns the one writing connection of a process: how it is opened, waits for its turn, and is opened again after a
failure. Other processes may write too; SQLite's lock keeps them apart, and the sequence tells who follows whom.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recsys.errors import FeedbackUnavailableError
from recsys.feedback import at_once
from recsys.feedback.changes import Change, Written
from recsys.feedback.database import connect, feedback_path, is_busy, room_bytes, translating
from recsys.feedback.indexes import Indexes
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.schema import SCHEMA_VERSION, ensure, inspect, read_identity, upgrade
from recsys.feedback.transaction import STAGE, UNSTAGE, Transaction

#: How often a writer asks for its turn. SQLite itself asks up to 100 ms apart, and would miss an import's pauses.
_ASK_S = 0.001
_SCRUB_S = 0.1
#: How often it is seen to that the file still is the one that was opened. Each look costs as much as a step of SQLite.
_LOOK_S = 0.05
#: A disk with less is called full, even if a small write would fit.
_ROOM_BYTES = 2**20
_RESTART = "restart the service"


class _Writing(NamedTuple):
    """The writing connection, and the indexes as it brings them on."""

    db: sqlite3.Connection
    indexes: Indexes


class FeedbackStore(FeedbackReader):
    """The feedback of one state directory, for reading and writing. Thread-safe; every method blocks for the disk.

    `clock` gives unix seconds: the time of arrival. `lock_wait_s` bounds the wait for another process.
    """

    def __init__(self, state: Path, *, clock: Callable[[], float] = time.time, lock_wait_s: float = 2.0) -> None:
        super().__init__(feedback_path(state))
        self._clock = clock
        self._lock_wait_s = lock_wait_s
        self._one_at_a_time = threading.Lock()
        self._writing: _Writing | None = None
        self._file: tuple[int, int] | None = None
        self._look_at = 0.0
        self._highest = 0
        self._is_checked = False
        self._must_scrub = True

    def open(self) -> None:
        """Make the database if there is none, check it, and connect. Without it, the first write does so.

        Errors: FeedbackCorruptError for one that must not be used; FeedbackUnavailableError for one that cannot be
        used now, where each write tries again, and reading may work. Cost: .3 s for 1,000,000 ratings.
        """
        with self._one_at_a_time, translating(self.path):
            self._connect()
        self.scrub()

    def close(self) -> None:
        with self._one_at_a_time:
            self._disconnect()

    def write(self, changes: Sequence[Change]) -> Written:
        """Keep `changes` in order, in one commit. When this returns they are on disk.

        Errors: FeedbackUnavailableError, FeedbackCorruptError, with the reason; then nothing is kept, or if the disk
        failed in the very commit, all of it: the sequence tells. What is wrong with one change is in its outcome, and
        does not hurt the others. Cost: one fsync, and some 20 µs a rating; one step of SQLite for what is as usual.
        """
        if (written := self._write_at_once(changes)) is not None:
            return written
        with self.transaction() as transaction:
            before = transaction.sequence
            outcomes = transaction.apply(changes)
        if any(outcome.forgotten for outcome in outcomes):
            self._must_scrub = True
            self.scrub()
        return Written(before, transaction.sequence, lambda: outcomes)

    def _write_at_once(self, changes: Sequence[Change]) -> Written | None:
        """Write what is as usual; None, and nothing was done, for what is not."""
        with self._one_at_a_time, translating(self.path):
            db, indexes = self._connect()
            try:
                now = int(self._clock())
                written = at_once.keep(db, indexes, changes, before=self._highest, key=self.key, now=now)
            except BaseException:
                self._disconnect()
                raise
            if written is not None:
                self._highest = written.sequence
            return written

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Hold the right to write, and commit at the end; after any error nothing is kept."""
        with self._one_at_a_time, translating(self.path):
            db, indexes = self._connect()
            try:
                if not _patiently(lambda: _begin(db), self._lock_wait_s):
                    raise FeedbackUnavailableError(f"{self.path} is locked by another process")
                sequence, settled = db.execute("SELECT sequence, settled FROM store").fetchone()
                if sequence < self._highest:
                    raise FeedbackUnavailableError(f"{self.path} is an older copy of itself", hint=_RESTART)
                indexes.begin(sequence, settled)
                transaction = Transaction(db, indexes, self.key, sequence, int(self._clock()))
                yield transaction
                indexes.bring_on(transaction.sequence)
                if (transaction.sequence, indexes.settled) != (sequence, settled):
                    db.execute("UPDATE store SET sequence = ?, settled = ?", (transaction.sequence, indexes.settled))
                db.execute(UNSTAGE)
                db.execute("COMMIT")
                self._highest = transaction.sequence
            except BaseException:
                self._disconnect()
                raise

    def scrub(self) -> bool:
        """After a forgetting, empty the log, which still holds what was overwritten. False: somebody reads from it,
        or the disk failed; call it again later. Costs nothing when there is nothing to do.
        """
        if not self._must_scrub:
            return True
        try:
            with self._one_at_a_time, translating(self.path):
                db, _ = self._connect()
                self._must_scrub = not _patiently(lambda: _empty_log(db), _SCRUB_S)
        except FeedbackUnavailableError:
            return False
        return not self._must_scrub

    def skip_to(self, sequence: int) -> None:
        """Have the next change come after `sequence`. Errors: as `write`.

        For a database restored from a backup: models were trained up to a later sequence than it knows, and would take
        what comes now for what they have learned.
        """
        if self.sequence < sequence:
            with self.transaction() as transaction:
                transaction.sequence = max(transaction.sequence, sequence)

    def try_writing(self) -> None:
        """Change nothing, but go all the way to the disk. Errors: as `write`."""
        with self.transaction() as transaction:
            # SQLite writes the first page for this; an update to the same value it leaves out
            transaction.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if room_bytes(self.path.parent) < _ROOM_BYTES:
            raise FeedbackUnavailableError(f"{self.path} cannot be written, the disk is full")

    def _connect(self) -> _Writing:
        """Return the writing connection, a new one after a failure. A store that was put in the place of the one
        opened first is not written to: what is in memory and the cutoffs of models would not fit it.
        """
        if self._writing is not None and time.monotonic() < self._look_at:
            return self._writing
        if not self._is_checked:
            ensure(self.path)
            self._identity = inspect(self.path)
            upgrade(self.path)
            self._is_checked = True
        found = self.path.stat()
        file = (found.st_dev, found.st_ino)
        self._look_at = time.monotonic() + _LOOK_S
        if self._writing is not None and self._file == file:
            return self._writing
        self._disconnect()
        # after a kill, whoever comes first brings the log in order, and another has to wait for that
        db = connect(self.path, busy_timeout_s=self._lock_wait_s)
        try:
            if read_identity(db) != self._identity:
                raise FeedbackUnavailableError(f"{self.path} was replaced by another store", hint=_RESTART)
            db.execute("PRAGMA busy_timeout = 0")  # from here on we ask for our turn ourselves
            for setting in ("synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY", "cache_size = -16000"):
                db.execute(f"PRAGMA {setting}")
            db.execute(STAGE)
            indexes = Indexes(db)
            for statement in at_once.ARRIVING:
                db.execute(statement)
            self._writing, self._file = _Writing(db, indexes), file
        except BaseException:
            db.close()
            raise
        return self._writing

    def _disconnect(self) -> None:
        """Closing rolls back what was not committed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.db.close()


def _patiently(attempt: Callable[[], bool], wait_s: float) -> bool:
    """Try until it is done; false after `wait_s`."""
    deadline = time.monotonic() + wait_s
    while not attempt():
        if time.monotonic() > deadline:
            return False
        time.sleep(_ASK_S)
    return True


def _begin(db: sqlite3.Connection) -> bool:
    """Take the right to write, false when somebody has it."""
    try:
        db.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    return True


def _empty_log(db: sqlite3.Connection) -> bool:
    """Move what is in the log into the database and cut the log to nothing, false when somebody needs it."""
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
