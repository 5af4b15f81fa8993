"""`kill -9` of the service at any moment of a busy life: it starts again, whole, and leaves nothing behind."""

import http.client
import json
import os
import random
import re
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from life_of_a_process import TOKEN, eventually, processes_marked, retrain, wait_ended, write_ratings
from service import ServerProcess

from recsys.artifacts.servable import load_servable
from recsys.jobs.ledger import CUT_OFF

Serve = Callable[..., ServerProcess]
#: What to wait for, and for how long at most to go on from there: a moment in each phase of a round, spread within it.
AIMS = (
    ("job", "publish", 0.03),  # staging, hashing, the rename
    ("job", "accepted", 0.02),  # the rescan and the load that follow
    ("swap", "", 0.05),  # the ledger's last line, then the prune
    ("job", "read", 0.3),
    ("job", "publish", 0.12),
    ("swap", "", 0.01),
    ("job", "start", 0.6),  # the child is being started and loads its libraries
    ("job", "fit", 0.2),
    ("job", "accepted", 0.1),
    ("job", "refit", 0.05),
)
CI_MOMENTS, ALL_MOMENTS = 5, 100


class Driver:
    """Keeps the service training back to back and answering, until it is gone."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._threads = [threading.Thread(target=self._train), threading.Thread(target=self._ask)]
        self.wrong: list[object] = []
        for thread in self._threads:
            thread.start()

    def _train(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                wait_ended_or_gone(self._server, retrain(self._server))

    def _ask(self) -> None:
        with suppress(OSError, http.client.HTTPException):
            while True:
                answer = self._server.request("/api/v1/users/1/recommendations")
                if answer.status != 200 or not answer.json["items"]:
                    self.wrong.append(answer)
                time.sleep(0.005)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()


def wait_ended_or_gone(server: ServerProcess, job_id: str) -> None:
    with suppress(AssertionError):
        wait_ended(server, job_id)
    if server.process.poll() is not None:
        raise ConnectionError("the service is gone")


def wait_for_event(server: ServerProcess, kind: str, what: str, timeout_s: float = 60.0) -> None:
    """Follow the service's own events until one is of this kind, at this stage or of this status."""
    connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=timeout_s)
    try:
        connection.request("GET", "/admin/events", headers={"Authorization": f"Bearer {TOKEN}"})
        answer, event = connection.getresponse(), ""
        while line := answer.readline().decode():
            if line.startswith("event: "):
                event = line[7:].strip()
            elif line.startswith("data: ") and event == kind:
                data = json.loads(line[6:])
                if not what or what in (data.get("status"), data.get("stage")):
                    return
        raise AssertionError("the stream of events ended")
    finally:
        connection.close()


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_service_starts_again_whole_and_leaves_nothing_behind(
    serve: Serve, tmp_path: Path, full: bool
) -> None:
    dice = random.Random(20240229)
    data = write_ratings(tmp_path / "own.csv")
    planted = plant_strangers(tmp_path)
    mark = f"KILL_TEST_MARK={uuid.uuid4().hex}"
    environ = {
        "RECSYS_ADMIN__TOKEN": TOKEN,
        "RECSYS_RETRAINING__KEEP_VERSIONS": "2",
        mark.partition("=")[0]: mark.partition("=")[2],
    }
    server = serve("--data", str(data), environ=environ)
    for number in range(ALL_MOMENTS if full else CI_MOMENTS):
        kind, what, spread_s = AIMS[number % len(AIMS)]
        delay_s = dice.uniform(0, spread_s)
        moment = f"moment {number}: {delay_s:.4f} s after {kind} {what}"
        driver = Driver(server)
        wait_for_event(server, kind, what)
        time.sleep(delay_s)  # not to wait for anything: it is the moment itself
        server.process.kill()
        server.process.wait(10)
        assert eventually(lambda: not processes_marked(mark), 5), f"orphans after {moment}: {processes_marked(mark)}"
        driver.join()
        unfinished = unfinished_jobs(tmp_path / "state" / "jobs.jsonl")

        server = serve("--data", str(data), environ=environ)

        assert driver.wrong == [], moment
        assert_whole(server, tmp_path, moment)
        assert_nothing_left(tmp_path, planted, moment)
        runs = {run["job_id"]: run for run in jobs(server)}
        for job_id in unfinished:
            assert (runs[job_id]["status"], runs[job_id]["reason"]) == ("failed", CUT_OFF), moment
    assert server.stop() == 0
    assert_nothing_left(tmp_path, planted, "the end")


def plant_strangers(directory: Path) -> dict[Path, bytes]:
    """Put files of somebody else where the service keeps its own, with names near to those it uses."""
    planted = {
        directory / "models" / "notes.txt": b"mine",
        directory / "models" / "v1.0.0.bak" / "manifest.json": b"{}",
        directory / "models" / ".keep": b"",
        directory / "state" / "jobs.jsonl.bak": b"mine",
        directory / "state" / ".pin.json.swp": b"mine",
        directory / "state" / "store" / ".pin.json.backup": b"mine",
    }
    for path, content in planted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return planted


def jobs(server: ServerProcess) -> list[dict[str, str]]:
    answer = server.request("/admin/jobs", headers={"Authorization": f"Bearer {TOKEN}"})
    return list(answer.json["items"])


def unfinished_jobs(ledger: Path) -> set[str]:
    status: dict[str, str] = {}
    for line in ledger.read_bytes().splitlines():
        with suppress(ValueError):
            found = json.loads(line)
            status[found["job_id"]] = found["status"]
    return {job_id for job_id, last in status.items() if last in ("queued", "running")}


def assert_whole(server: ServerProcess, directory: Path, moment: str) -> None:
    answer = server.request("/api/v1/users/1/recommendations")
    assert answer.status == 200, moment
    health = server.request("/health").json
    assert (health["status"], health["quarantined"]) == ("ok", []), moment
    assert (directory / "models" / answer.headers["X-Model-Version"] / "manifest.json").is_file(), moment


def assert_nothing_left(directory: Path, planted: dict[Path, bytes], moment: str) -> None:
    """Between two starts: every version is complete, and what is beside them is either known or somebody else's."""
    models, state = directory / "models", directory / "state"
    versions = [path for path in models.iterdir() if re.fullmatch(r"v\d+\.\d+\.\d+", path.name)]
    assert versions, moment
    for path in versions:
        load_servable(path, pause=lambda: None)
    staging = models / ".staging"
    assert (os.listdir(staging) if staging.is_dir() else []) == [], moment
    known = {models / ".staging", models / ".lock", state / "jobs.jsonl", state / "store", *versions}
    known |= {state / "store" / name for name in (".lock", "pin.json", "quarantine.json")}
    known |= {state / f"feedback.sqlite{suffix}" for suffix in ("", "-wal", "-shm")}
    strangers = {*planted, models / "v1.0.0.bak"}
    found = {*models.iterdir(), *state.iterdir(), *(state / "store").iterdir()}
    assert set() == found - known - strangers, moment
    assert list(directory.glob(".*")) == [], moment
    assert planted == {path: path.read_bytes() for path in planted}, moment
