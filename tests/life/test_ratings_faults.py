"""A state directory that cannot be written: ratings are refused with the reason, everything else goes on, and it ends
by itself. And a database that must not be used: the service does not start over it.
"""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from life_of_a_process import TOKEN
from rating_clients import Sent, item_ids, kept, n_stored
from service import Answer, ServerProcess
from small_disks import fill, read_only, small_disk_at

Serve = Callable[..., ServerProcess]
Fault = Callable[[Path], AbstractContextManager[object]]
#: Longer than the writer goes without looking at the store.
LOOKS_S = 2.5
RECOVERS_S = 10.0


@pytest.fixture
def small_state(tmp_path: Path) -> Iterator[Path]:
    """The state directory, on a file system of its own of 2 MB."""
    with small_disk_at(tmp_path / "state", "2m") as path:
        yield path


@contextmanager
def full_disk(state: Path) -> Iterator[None]:
    ballast = fill(state)
    yield
    ballast.unlink()


@contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """Unlike a mount, this can be made read-only under files that are open for writing."""
    changed = subprocess.run(["chattr", "+i", *files], capture_output=True, text=True, check=False)
    if changed.returncode != 0:
        pytest.skip(f"needs chattr: {changed.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *files], check=True)


@contextmanager
def files_cannot_grow(service: "Service", n_bytes: int) -> Iterator[None]:
    """Needs no privileges. A write beyond the limit fails with EFBIG."""
    pid = service.server.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    with closing(sqlite3.connect(state / "feedback.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


class Service:
    """A service with some acknowledged ratings."""

    def __init__(self, server: ServerProcess, sent: Sent | None = None) -> None:
        self.server = server
        self.sent = sent or Sent(item_ids(server))

    def post(self, size: int = 1) -> Answer:
        numbers = self.sent.take(size)
        answer = self.server.request(
            "/api/v1/ratings", method="POST", body=self.sent.body(numbers), headers={"Content-Type": "application/json"}
        )
        if answer.status == 200:
            self.sent.acknowledged.update(numbers)
        else:
            self.sent.unknown.append(numbers)
        return answer

    def post_until_refused(self) -> Answer:
        for _ in range(2000):
            answer = self.post(50)
            if answer.status != 200:
                return answer
        raise AssertionError("it was never refused")

    def assert_refuses(self, reason: str, answer: Answer | None = None) -> None:
        answer = answer or self.post()
        assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
        assert answer.json["code"] == "feedback_unavailable"
        assert reason in answer.json["detail"].lower()
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert self.health() == ("degraded", answer.json["detail"])

    def health(self) -> tuple[str, str | None]:
        health = self.server.request("/health").json
        assert health["detail"] == health["feedback"]["problem"]
        return health["status"], health["detail"]

    def assert_reads_go_on(self) -> None:
        user, item = "client-0", self.sent.item_ids[0]
        rated = {row[1] for row in kept(self.server, self.sent) if row[0] == user}
        for path in (
            f"/api/v1/users/{user}/recommendations?n=11",
            "/api/v1/users/1/recommendations?n=12",
            "/api/v1/items?query=the",
            f"/api/v1/items/{item}",
            f"/api/v1/items/{item}/similar",
            "/api/v1/items/popular",
            "/api/v1/items/trending",
            "/health/ready",
            "/metrics",
        ):
            answer = self.server.request(path)
            assert answer.status == 200, path
            if user in path:
                assert rated & {one["item_id"] for one in answer.json["items"]} == set()

    def assert_stays_degraded(self) -> None:
        """While nobody posts anything, too."""
        ends = time.monotonic() + LOOKS_S
        while time.monotonic() < ends:
            assert self.health()[0] == "degraded"
            time.sleep(0.05)

    def wait_recovered(self) -> None:
        """Nobody has to post anything for it."""
        self.server.wait_for(lambda: self.health() == ("ok", None), "recovered", RECOVERS_S)
        assert self.post().status == 200
        assert self.post(20).status == 200


@pytest.fixture
def start(serve: Serve, store_with: Callable[..., object]) -> Callable[..., Service]:
    store_with("v1.0.0")
    environ = {"RECSYS_ADMIN__TOKEN": TOKEN}  # else it is kept in the state directory
    return lambda sent=None: Service(serve(environ=environ), sent)


Start = Callable[..., Service]


def test_a_disk_that_fills_up(small_state: Path, start: Start) -> None:
    service = start()
    assert service.post(20).status == 200
    with full_disk(small_state):
        service.assert_refuses("the disk is full", service.post_until_refused())
        service.assert_reads_go_on()
        service.assert_stays_degraded()
        service.assert_refuses("the disk is full", service.post_until_refused())  # a few may still have fitted
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


def test_files_that_cannot_grow(tmp_path: Path, start: Start) -> None:
    service = start()
    assert service.post(20).status == 200
    with files_cannot_grow(service, (tmp_path / "state" / "feedback.sqlite-wal").stat().st_size):
        service.assert_refuses("disk i/o error")
        service.assert_reads_go_on()
        service.assert_stays_degraded()
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


def test_files_that_may_no_longer_be_written(tmp_path: Path, start: Start) -> None:
    service = start()
    assert service.post(20).status == 200
    with immutable(*(tmp_path / "state" / name for name in ("feedback.sqlite", "feedback.sqlite-wal"))):
        service.assert_refuses("disk i/o error")
        service.assert_reads_go_on()
        service.assert_stays_degraded()
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


def test_a_lock_of_another_process(tmp_path: Path, start: Start) -> None:
    service = start()
    assert service.post(20).status == 200
    with locked(tmp_path / "state"):
        service.assert_refuses("locked by another process")
        service.assert_reads_go_on()
        service.assert_stays_degraded()
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(("fault", "reason"), [(full_disk, "the disk is full"), (read_only, "read-only")])
def test_a_start_on_such_a_disk_serves(
    small_state: Path, start: Start, fault: Fault, reason: str, end: signal.Signals
) -> None:
    assert_started_serves(small_state, start, fault, reason, end)


def test_a_start_beside_a_lock_serves(tmp_path: Path, start: Start) -> None:
    assert_started_serves(tmp_path / "state", start, locked, "locked by another process", signal.SIGKILL)


@pytest.mark.parametrize(("fault", "reason"), [(full_disk, "the disk is full"), (read_only, "read-only")])
def test_a_first_start_on_such_a_disk_serves_and_keeps_ratings_as_soon_as_it_can(
    small_state: Path, start: Start, fault: Fault, reason: str
) -> None:
    with fault(small_state):
        service = start()
        service.assert_stays_degraded()
        service.assert_refuses(reason)
        service.assert_reads_go_on()
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


def assert_started_serves(state: Path, start: Start, fault: Fault, reason: str, end: signal.Signals) -> None:
    """After `end` the log is still there, or not: reading it is another thing then."""
    service = start()
    for _ in range(10):
        assert service.post(20).status == 200
    service.server.stop(end)
    with fault(state):
        service = start(service.sent)
        assert n_stored(service.server) == len(kept(service.server, service.sent))
        service.assert_refuses(reason, service.post_until_refused())
        service.assert_reads_go_on()
    service.wait_recovered()
    assert_kept_by_the_next(service, start)


def assert_kept_by_the_next(service: Service, start: Start) -> None:
    service.server.stop(signal.SIGKILL)
    service = start(service.sent)
    assert n_stored(service.server) == len(kept(service.server, service.sent))


def flip(path: Path, start: int, end: int) -> None:
    content = bytearray(path.read_bytes())
    content[start:end] = bytes(byte ^ 0xFF for byte in content[start:end])
    path.write_bytes(content)


def replace_by_another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE events (title TEXT)")


def start_that_fails(directory: Path) -> tuple[int, list[str]]:
    """Exit status, and the lines that were printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    environ |= {
        "RECSYS_PATHS__MODELS": str(directory / "models"),
        "RECSYS_PATHS__STATE": str(directory / "state"),
        "RECSYS_ADMIN__TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "recsys", "serve", "--port", "0"]
    done = subprocess.run(
        command, cwd=directory, env=environ, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    return done.returncode, done.stderr.splitlines()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "text": lambda path: path.write_text("user,item,rating\n" * 1000),
    "cut to nothing": lambda path: os.truncate(path, 0),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "bytes flipped in the header": lambda path: flip(path, 40, 60),
    "bytes flipped in the middle": lambda path: flip(path, 4096, 3 * 4096),
    "of something else": replace_by_another,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_database_that_must_not_be_used(
    tmp_path: Path, serve: Serve, start: Start, damage: Callable[[Path], object]
) -> None:
    service = start()
    for _ in range(4):
        assert service.post(50).status == 200
    assert service.server.stop() == 0
    database = tmp_path / "state" / "feedback.sqlite"
    damage(database)
    before = database.read_bytes()

    status, printed = start_that_fails(tmp_path)

    assert status == 1
    assert printed[-1].startswith(f"recsys: {database} ")
    assert "move it away" in printed[-1] or ".recover" in printed[-1]
    assert [line for line in printed[:-1] if "[info" not in line] == []

    server = serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN, "RECSYS_FEEDBACK__ENABLED": "false"})
    answer = server.request("/api/v1/ratings", method="POST", body=json.loads(service.sent.body([0])))
    assert (answer.status, answer.json["code"]) == (503, "feedback_unavailable")
    assert "RECSYS_FEEDBACK__ENABLED" in answer.json["hint"]
    assert server.request("/api/v1/users/1/recommendations").json["items"]
    assert server.request("/api/v1/users/client-0/ratings").json == {"ratings": []}
    assert server.request("/health").json["status"] == "ok"
    assert server.request("/metrics").status == 200
    assert server.stop() == 0
    assert before == database.read_bytes()
