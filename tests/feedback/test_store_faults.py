"""A full disk, a read-only directory, a lock, a file that was taken away: an error with the reason, nothing that was
acknowledged is lost, and the next write works by itself.
"""

import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import pytest
from small_disks import fill, read_only
from stores import OpenStore, item_numbers, numbered, rows

from recsys.errors import FeedbackUnavailableError
from recsys.feedback import store as feedback_store
from recsys.feedback.changes import ForgetUser
from recsys.feedback.store import FeedbackStore

Hold = Callable[..., AbstractContextManager[None]]


def write_until_it_fails(store: FeedbackStore, start: int = 0) -> tuple[list[int], FeedbackUnavailableError]:
    """Return the numbers of what was acknowledged, and the error that ended it."""
    kept: list[int] = []
    for number in count(start, 10):
        assert number < start + 200_000, "it never fails"
        group = range(number, number + 10)
        try:
            store.write([numbered(group)])
        except FeedbackUnavailableError as error:
            return kept, error
        kept += group
    raise AssertionError


class TestFullDisk:
    def test_refuses_with_the_reason_and_goes_on_when_there_is_room(
        self, small_disk: Path, open_store: OpenStore
    ) -> None:
        store = open_store(small_disk)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(500_000))
        kept, error = write_until_it_fails(store)

        assert "the disk is full" in error.detail
        assert kept
        assert kept == item_numbers(store)
        more, _ = write_until_it_fails(store, 1_000_000)  # a page or two may still fit
        ballast.unlink()
        store.write([numbered([2_000_000])])
        assert [*kept, *more, 2_000_000] == item_numbers(store)
        store.close()
        assert [*kept, *more, 2_000_000] == item_numbers(open_store(small_disk))

    def test_does_not_keep_a_start_from_reading(self, small_disk: Path, open_store: OpenStore) -> None:
        store = open_store(small_disk)
        store.write([numbered(range(100))])
        store.close()
        ballast = fill(small_disk)
        started = FeedbackStore(small_disk)
        with pytest.raises(FeedbackUnavailableError):
            started.open()
        assert list(range(100)) == item_numbers(started)
        with pytest.raises(FeedbackUnavailableError):
            started.write([ForgetUser("user3")])
        ballast.unlink()

        started.write([ForgetUser("user3")])
        assert [number for number in range(100) if number % 10 != 3] == item_numbers(started)
        started.close()

    def test_a_store_is_made_as_soon_as_there_is_room(self, small_disk: Path) -> None:
        ballast = fill(small_disk)
        store = FeedbackStore(small_disk)
        with pytest.raises(FeedbackUnavailableError):
            store.open()
        with pytest.raises(FeedbackUnavailableError):
            store.write([numbered([1])])
        assert not store.path.exists()
        ballast.unlink()

        store.write([numbered([1])])
        assert item_numbers(store) == [1]
        store.close()

    def test_a_limit_on_the_size_of_files_does_no_more_harm(self, store: FeedbackStore) -> None:
        """Needs no mount: the kernel refuses to let the log grow."""
        with file_size_limit(200_000):
            kept, _ = write_until_it_fails(store)
            assert kept == item_numbers(store)

        assert kept
        store.write([numbered([10**6])])
        assert [*kept, 10**6] == item_numbers(store)


@contextmanager
def file_size_limit(n_bytes: int) -> Iterator[None]:
    """Python ignores SIGXFSZ, so a write beyond the limit fails with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestReadOnlyDirectory:
    def test_refuses_to_write_and_still_reads(self, small_disk: Path, open_store: OpenStore) -> None:
        store = open_store(small_disk)
        store.write([numbered(range(10))])
        store.close()
        with read_only(small_disk):
            with pytest.raises(FeedbackUnavailableError, match="read-only"):
                store.write([numbered([10])])
            assert list(range(10)) == item_numbers(store)
            store.close()
            started = FeedbackStore(small_disk)
            with pytest.raises(FeedbackUnavailableError, match="read-only"):
                started.open()
            assert list(range(10)) == item_numbers(started)
            with pytest.raises(FeedbackUnavailableError, match="read-only"):
                started.write([numbered([10])])

        started.write([numbered([10])])
        assert list(range(11)) == item_numbers(store)
        started.close()

    def test_a_store_is_made_as_soon_as_that_is_allowed(self, small_disk: Path) -> None:
        store = FeedbackStore(small_disk / "state")
        with read_only(small_disk), pytest.raises(FeedbackUnavailableError, match="Read-only file system"):
            store.open()

        store.write([numbered([1])])
        assert item_numbers(store) == [1]
        store.close()

    def test_a_log_that_may_no_longer_be_written_refuses_until_it_may(self, store: FeedbackStore) -> None:
        """While it is open, which a remount would not allow."""
        store.write([numbered([1])])
        log = f"{store.path}-wal"
        done = subprocess.run(["chattr", "+i", log], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"needs chattr: {done.stderr.strip()}")
        try:
            for _ in range(2):
                with pytest.raises(FeedbackUnavailableError):
                    store.write([numbered([2])])
            assert item_numbers(store) == [1]
        finally:
            subprocess.run(["chattr", "-i", log], check=True)

        store.write([numbered([3])])
        assert item_numbers(store) == [1, 3]


class TestLock:
    def test_of_another_process_is_waited_for_only_so_long(
        self, open_store: OpenStore, held_by_another_process: Hold
    ) -> None:
        store = open_store(lock_wait_s=0.05)
        store.write([numbered([1])])
        with held_by_another_process(store.path, "BEGIN IMMEDIATE"):
            for _ in range(2):
                with pytest.raises(FeedbackUnavailableError, match="locked by another process"):
                    store.write([numbered([2])])
            assert item_numbers(store) == [1]

        store.write([numbered([3])])
        assert item_numbers(store) == [1, 3]

    def test_that_is_let_go_in_time_does_no_harm(self, open_store: OpenStore, held_by_another_process: Hold) -> None:
        store = open_store(lock_wait_s=30.0)
        writer = threading.Thread(target=lambda: store.write([numbered([1])]))
        with held_by_another_process(store.path, "BEGIN IMMEDIATE"):
            writer.start()
        writer.join(30)

        assert item_numbers(store) == [1]

    def test_of_the_whole_file_is_named_too(self, open_store: OpenStore, held_by_another_process: Hold) -> None:
        store = open_store(lock_wait_s=0.05)
        store.write([numbered([1])])
        store.close()
        with (
            held_by_another_process(store.path, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"),
            pytest.raises(FeedbackUnavailableError, match="locked by another process"),
        ):
            store.write([numbered([2])])

        store.write([numbered([3])])
        assert item_numbers(store) == [1, 3]


class TestAnotherFile:
    """Ratings must not go where nobody will look for them."""

    @pytest.fixture(autouse=True)
    def look_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(feedback_store, "_LOOK_S", 0.0)

    def test_one_that_was_moved_away_is_not_written_to_until_it_is_back(
        self, store: FeedbackStore, tmp_path: Path
    ) -> None:
        store.write([numbered([1])])
        os.rename(store.path.parent, tmp_path / "away")
        with pytest.raises(FeedbackUnavailableError, match="No such file"):
            store.write([numbered([2])])
        os.rename(tmp_path / "away", store.path.parent)

        store.write([numbered([3])])
        assert item_numbers(store) == [1, 3]

    def test_another_store_in_its_place_is_not_written_to(
        self, store: FeedbackStore, open_store: OpenStore, tmp_path: Path
    ) -> None:
        store.write([numbered([1])])
        other = open_store(tmp_path / "other")
        other.close()
        shutil.rmtree(store.path.parent)
        shutil.copytree(other.path.parent, store.path.parent)

        with pytest.raises(FeedbackUnavailableError, match="replaced by another store"):
            store.write([numbered([2])])
        assert item_numbers(FeedbackStore(store.path.parent)) == []

    def test_an_older_copy_in_its_place_is_not_written_to(
        self, store: FeedbackStore, open_store: OpenStore, tmp_path: Path
    ) -> None:
        """Its next numbers would be those that memory and models have already."""
        store.close()
        shutil.copytree(store.path.parent, tmp_path / "backup")
        store.write([numbered([1])])
        store.close()
        shutil.rmtree(store.path.parent)
        shutil.copytree(tmp_path / "backup", store.path.parent)

        with pytest.raises(FeedbackUnavailableError, match="older copy"):
            store.write([numbered([2])])

    def test_is_seen_some_time_later_by_who_writes_all_the_time(
        self, store: FeedbackStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """To look each time would cost the event loop as much as a step of SQLite."""
        monkeypatch.setattr(feedback_store, "_LOOK_S", 0.3)
        written = []

        def write_on() -> None:
            for number in range(1_000_000):
                store.write([numbered([number])])
                written.append(number)
                if number == 0:
                    os.rename(store.path.parent, tmp_path / "away")

        with pytest.raises(FeedbackUnavailableError, match="No such file"):
            write_on()

        os.rename(tmp_path / "away", store.path.parent)
        assert len(written) > 1
        assert item_numbers(store) == written


def test_two_processes_write_at_once_and_nothing_is_lost(store: FeedbackStore) -> None:
    code = """
import sys
from pathlib import Path
from stores import numbered
from recsys.feedback.store import FeedbackStore
store = FeedbackStore(Path(sys.argv[1]), lock_wait_s=30)
store.open()
print("started", flush=True)
for number in range(1000, 1100):
    store.write([numbered([number])])
store.close()
"""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(store.path.parent)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "started\n"
        own = [store.write([numbered([number])]).sequence for number in range(100)]
        assert other.wait(60) == 0

    assert [*range(100), *range(1000, 1100)] == sorted(item_numbers(store))
    assert list(range(1, 201)) == store.events().sequences.tolist()
    assert own == [event.sequence for event in rows(store.events()) if int(event.item_id[4:]) < 1000]


def test_a_commit_waits_for_the_disk_and_deletion_overwrites(store: FeedbackStore) -> None:
    """Neither shows in a test that only kills processes."""
    db = store._connect().db

    found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")]
    assert found == ["wal", 2, 1]
