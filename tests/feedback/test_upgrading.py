"""A database of an earlier version of recsys becomes one of this version, whole or not at all."""

import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from small_disks import fill
from stores import NOW, OpenStore, put, rows, settled, write
from structlog.testing import capture_logs

from recsys.errors import FeedbackUnavailableError
from recsys.feedback.changes import DeleteRating, ForgetUser, Rating
from recsys.feedback.exporting import live_ratings
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.store import FeedbackStore

#: What schema 2 has, and 1 has not, and the other way round.
_BACK_TO_1 = """
BEGIN;
DROP TABLE user_events;
DROP TABLE event_keys;
ALTER TABLE store DROP COLUMN settled;
CREATE INDEX events_by_user ON events (uid, iid);
CREATE UNIQUE INDEX events_by_key ON events (event_key) WHERE event_key IS NOT NULL;
PRAGMA user_version = 1;
COMMIT;
"""
N_RATINGS = 4000


def ratings() -> list[Rating]:
    """Half of them have names."""
    return [
        Rating(f"user{n % 7}", f"item{n}", 1.0 + n % 5, 1000 + n, None if n % 2 else f"event {n}")
        for n in range(N_RATINGS)
    ]


def make_older(state: Path) -> Path:
    store = FeedbackStore(state, clock=lambda: NOW)
    store.open()
    store.write([put(*ratings()), DeleteRating("user1", "item1"), ForgetUser("user6")])
    store.close()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as db:
        db.executescript(_BACK_TO_1)
        db.execute("VACUUM")
    return store.path


@pytest.fixture
def older(tmp_path: Path) -> Path:
    return make_older(tmp_path / "state")


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return int(db.execute("PRAGMA user_version").fetchone()[0])


def check_upgraded(store: FeedbackStore) -> None:
    """What was there is there, is known again, and can be forgotten."""
    kept = [rating for rating in ratings() if rating.user_id != "user6"]
    assert version(store.path) == 2
    assert [(event.user_id, event.item_id, event.value, event.timestamp) for event in rows(store.events())] == [
        *(rating[:4] for rating in kept), ("user1", "item1", None, NOW),
    ]  # fmt: skip
    assert settled(store) == store.sequence
    named = [put(rating) for rating in kept if rating.event_id is not None]
    assert {(0, 1)} == {(outcome.accepted, outcome.duplicates) for outcome in store.write(named).outcomes}
    assert write(store, ForgetUser("user5")).forgotten is not None
    assert not {"user5", "user6"} & set(store.events().user_ids)
    with closing(sqlite3.connect(store.path)) as db:
        indexed = [set(db.execute(f"SELECT sequence FROM {index}")) for index in ("user_events", "event_keys")]
        held = [set(db.execute(f"SELECT sequence FROM events {which}")) for which in ("", "WHERE event_key NOT NULL")]
    assert indexed == held


def test_opening_it_brings_it_here(older: Path, open_store: OpenStore) -> None:
    reader = FeedbackReader(older)
    before = rows(reader.events())
    assert version(older) == 1  # a training may read it before the service writes

    with capture_logs() as logs:
        store = open_store()

    assert [(log["event"], log["schema"]) for log in logs] == [("brought the ratings file to this version", 2)]
    assert before == rows(store.events()) == rows(reader.events())
    check_upgraded(store)


def test_so_does_an_export(older: Path, open_store: OpenStore) -> None:
    exported = [rating for page in live_ratings(older) for rating in page.ratings]

    assert len(exported) == sum(rating.user_id != "user6" for rating in ratings()) - 1
    assert version(older) == 2
    check_upgraded(open_store())


def test_several_at_once_may_do_so(older: Path, open_store: OpenStore) -> None:
    problems: list[BaseException] = []

    def open_it() -> None:
        store = FeedbackStore(older.parent)
        try:
            store.open()
        except BaseException as problem:
            problems.append(problem)
        store.close()

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert problems == []
    check_upgraded(open_store())


def test_a_full_disk_leaves_it_as_it_was(small_disk: Path) -> None:
    state = small_disk / "state"
    path = make_older(state)
    ballast = fill(small_disk)
    store = FeedbackStore(state, clock=lambda: NOW)
    for _ in range(2):
        with pytest.raises(FeedbackUnavailableError, match="disk is full"):
            store.open()
        assert store.events().size == N_RATINGS - N_RATINGS // 7 + 1

    ballast.unlink()
    assert version(path) == 1
    store.open()
    check_upgraded(store)
    store.close()


def test_a_kill_leaves_it_as_it_was_or_done(tmp_path: Path) -> None:
    dice = random.Random(20261129)
    code = "import sys; from pathlib import Path; from recsys.feedback.schema import upgrade; print(flush=True);"
    found = set()
    for kill in range(6):
        path = make_older(tmp_path / str(kill))
        process = subprocess.Popen(
            [sys.executable, "-c", f"{code} upgrade(Path(sys.argv[1]))", str(path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(dice.uniform(0, 0.02))  # not to wait for anything: it is the moment itself
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait(10)
        process.stdout.close()
        found.add(version(path))
        store = FeedbackStore(path.parent, clock=lambda: NOW)
        store.open()
        check_upgraded(store)
        store.close()
    assert 1 in found, "none came in time"
