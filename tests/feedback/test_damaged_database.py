"""A database that cannot be trusted is refused and left as it is, and the error says how to recover."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from stores import OpenStore, item_numbers, numbered

from recsys.errors import FeedbackCorruptError
from recsys.feedback.database import FILE_NAME
from recsys.feedback.reading import FeedbackReader
from recsys.feedback.store import FeedbackStore

PAGE = 4096
NOISE = b"\xa5\x3c" * (PAGE // 2)


@pytest.fixture
def path(open_store: OpenStore) -> Path:
    """A database of 3,000 ratings, in the indexes too, that nobody has open."""
    store = open_store()
    with store.transaction() as transaction:
        transaction.apply([numbered(range(1000)), numbered(range(1000, 2000)), numbered(range(2000, 3000))])
        transaction.indexes.settle(3000)
    store.close()
    return store.path


def overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(statement)


def leaf_of(path: Path, name: str) -> int:
    """Where a leaf of a table or an index begins that neither an end nor the number of rows is read from."""
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 2"
        try:
            return (int(db.execute(query, (name,)).fetchone()[0]) - 1) * PAGE
        except sqlite3.OperationalError as error:  # SQLite may be built without it
            pytest.skip(f"needs dbstat: {error}")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("user,item,rating\n" * 1000),
    "nothing": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "all but the last page": lambda path: os.truncate(path, path.stat().st_size - PAGE),
    "the first page": lambda path: os.truncate(path, PAGE),
    "a part of the first page": lambda path: os.truncate(path, 50),
    "another header": lambda path: overwrite(path, 0, b"SQLite format 4\0"),
    "zeros for ratings": lambda path: overwrite(path, leaf_of(path, "events"), bytes(PAGE)),
    "noise for ratings": lambda path: overwrite(path, leaf_of(path, "events"), NOISE),
    "noise in an index": lambda path: overwrite(path, leaf_of(path, "user_events"), NOISE),
    "a newer schema": lambda path: run(path, "PRAGMA user_version = 3"),
    "an older schema": lambda path: run(path, "PRAGMA user_version = 0"),
    "of something else": lambda path: run(path, "PRAGMA application_id = 7"),
    "no table of ratings": lambda path: run(path, "DROP TABLE events"),
    "no index": lambda path: run(path, "DROP TABLE event_keys"),
    "no identity": lambda path: run(path, "DELETE FROM store"),
    "a short key": lambda path: run(path, "UPDATE store SET key = x'00'"),
    "a count that fell behind": lambda path: run(path, "UPDATE store SET sequence = 2999"),
    "indexes that are ahead": lambda path: run(path, "UPDATE store SET settled = 3001"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_is_refused_and_left_byte_for_byte(path: Path, damage: Callable[[Path], object]) -> None:
    damage(path)
    before = path.read_bytes()

    for _ in range(2):
        store = FeedbackStore(path.parent)
        with pytest.raises(FeedbackCorruptError, match=FILE_NAME) as caught:
            store.open()
        with pytest.raises(FeedbackCorruptError):
            store.write([numbered([1])])
        store.close()
        assert "move it away" in str(caught.value) or ".recover" in str(caught.value)
        assert before == path.read_bytes()


def test_a_log_without_its_database_is_not_started_over(path: Path) -> None:
    log = path.with_name(f"{FILE_NAME}-wal")
    path.unlink()
    log.write_bytes(b"ratings")

    with pytest.raises(FeedbackCorruptError, match="holds ratings"):
        FeedbackStore(path.parent).open()
    assert (log.read_bytes(), path.exists()) == (b"ratings", False)


def test_damage_that_happens_while_it_is_read_is_named(path: Path) -> None:
    reader = FeedbackReader(path)
    assert reader.events().size == 3000
    overwrite(path, leaf_of(path, "events"), NOISE)

    with pytest.raises(FeedbackCorruptError, match="is damaged"):
        reader.events()


def test_after_a_crash_the_log_is_taken_in(path: Path, tmp_path: Path) -> None:
    """A copy of a database and its log, taken while it is open, is what a crash leaves."""
    store = FeedbackStore(path.parent)
    store.open()
    store.write([numbered([3000])])
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in (FILE_NAME, f"{FILE_NAME}-wal"):
        shutil.copy(path.parent / name, crashed / name)
    store.close()

    recovered = FeedbackStore(crashed)
    recovered.open()
    assert list(range(3001)) == item_numbers(recovered)
    recovered.close()


def test_a_crash_while_it_is_made_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    for suffix in ("", "-wal", "-journal"):
        (state / f".{FILE_NAME}.new{suffix}").write_bytes(b"half")

    store = FeedbackStore(state)
    store.open()
    store.write([numbered([1])])
    store.close()

    assert [found.name for found in state.iterdir()] == [FILE_NAME]
