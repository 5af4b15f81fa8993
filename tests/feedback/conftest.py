"""Stores that are closed, a disk that is soon full, and another process that holds the lock."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from small_disks import small_disk_at
from stores import NOW

from recsys.feedback.store import FeedbackStore

_HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    db.execute(statement)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., FeedbackStore]]:
    """Open the store of `tmp_path/state`, or of another directory; may be called again for a second writer."""
    opened: list[FeedbackStore] = []

    def make(state: Path = tmp_path / "state", *, lock_wait_s: float = 2.0) -> FeedbackStore:
        store = FeedbackStore(state, clock=lambda: NOW, lock_wait_s=lock_wait_s)
        opened.append(store)
        store.open()
        return store

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., FeedbackStore]) -> FeedbackStore:
    return open_store()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 1 MB."""
    with small_disk_at(tmp_path / "small", "1m") as path:
        yield path


@pytest.fixture
def held_by_another_process() -> Callable[..., AbstractContextManager[None]]:
    """Have another process open a database, run statements there, and keep what they locked."""

    @contextmanager
    def hold(path: Path, *statements: str) -> Iterator[None]:
        command = [sys.executable, "-c", _HOLDER, str(path), *statements]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "locked\n"
                yield
            finally:
                process.communicate("", timeout=30)

    return hold
