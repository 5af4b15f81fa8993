"""The command line on the store of a running service: what one does, the other sees within a second, whole."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from life_of_a_process import TOKEN, admin, job, retrain, wait_ended, wait_idle, write_ratings
from service import ROOT, ServerProcess

from recsys.artifacts.servable import load_servable

Serve = Callable[..., ServerProcess]


class Beside:
    """Runs `recsys …` with the paths of the service."""

    def __init__(self, directory: Path, data: Path) -> None:
        self._directory = directory
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        self._env |= {
            "RECSYS_PATHS__MODELS": str(directory / "models"),
            "RECSYS_PATHS__STATE": str(directory / "state"),
            "RECSYS_DATA__PATH": str(data),
            "RECSYS_CONFIG_DIR": str(ROOT / "config"),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "recsys", *arguments],
            cwd=self._directory, env=self._env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *arguments: str, status: int = 0) -> str:
        with self.start(*arguments) as process:
            out, error = process.communicate(timeout=60)
        assert status == process.returncode, out + error
        assert "Traceback" not in error
        return out if status == 0 else error


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_ratings(tmp_path / "own.csv")


@pytest.fixture
def server(serve: Serve, data: Path) -> ServerProcess:
    server = serve("--data", str(data), environ={"RECSYS_ADMIN__TOKEN": TOKEN})
    wait_idle(server)
    return server


@pytest.fixture
def recsys(server: ServerProcess, tmp_path: Path, data: Path) -> Beside:
    return Beside(tmp_path, data)


def test_a_version_trained_beside_is_served(server: ServerProcess, recsys: Beside) -> None:
    assert recsys.run("train").startswith("v1.0.1 accepted")
    server.wait_version("v1.0.1", 2)


def test_two_trainings_at_once_and_one_of_the_service_make_three_versions(
    server: ServerProcess, recsys: Beside, tmp_path: Path
) -> None:
    job_id = retrain(server)
    started = [recsys.start("train") for _ in range(2)]
    printed = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    own = wait_ended(server, job_id)["model_version"]

    versions = sorted([own, *(text.split()[0] for text in printed)])
    assert versions == ["v1.0.1", "v1.0.2", "v1.0.3"]
    for version in versions:
        load_servable(tmp_path / "models" / version, pause=lambda: None)
    server.wait_version("v1.0.3", 2)
    assert server.request("/health").json["quarantined"] == []
    assert job(server, job_id)["status"] == "accepted"


def test_a_name_that_is_taken_is_refused_before_the_work(server: ServerProcess, recsys: Beside) -> None:
    assert "v1.0.0 exists" in recsys.run("train", "--version", "v1.0.0", status=1)


def test_pin_unpin_and_rollback_are_followed_within_a_second(server: ServerProcess, recsys: Beside) -> None:
    recsys.run("train")
    server.wait_version("v1.0.1", 2)

    assert "pinned v1.0.0" in recsys.run("models", "pin", "v1.0.0")
    server.wait_version("v1.0.0", 1)
    assert server.request("/health").json["pin"] == "v1.0.0"
    recsys.run("models", "unpin")
    server.wait_version("v1.0.1", 1)
    assert "rolled back from v1.0.1 to v1.0.0" in recsys.run("models", "rollback")
    server.wait_version("v1.0.0", 1)


def test_the_list_agrees_with_the_service(server: ServerProcess, recsys: Beside, tmp_path: Path) -> None:
    recsys.run("train")
    (tmp_path / "models" / "v1.0.7").mkdir()
    server.wait_version("v1.0.1", 2)
    admin(server, "/pin", "PUT", {"version": "v1.0.0"})

    listed = {row["version"]: row["notes"] for row in json.loads(recsys.run("models", "list", "--json"))["items"]}
    states = admin(server, "/models").json
    assert [item["version"] for item in states["items"]] == list(listed)
    assert ["served", "pinned"] == listed[states["served"]] == listed["v1.0.0"]
    assert any("manifest.json" in note for note in listed["v1.0.7"])
    text = recsys.run("models", "list")
    assert all(version in text for version in listed)


def test_what_verify_finds_sound_can_be_pinned_though_it_was_marked(serve: Serve, data: Path, tmp_path: Path) -> None:
    # a mark of the watch after a swap is not about bytes: no change of content lifts it, only an operator can
    environ = {"RECSYS_ADMIN__TOKEN": TOKEN, "RECSYS_SERVING__WATCH_SLOW_MS": "0.0001"}
    server, recsys = serve("--data", str(data), environ=environ), Beside(tmp_path, data)
    recsys.run("train")
    server.wait_version("v1.0.1", 2)
    for _ in range(50):
        server.request("/api/v1/users/1/recommendations")
    server.wait_version("v1.0.0", 2)
    assert "recsys models verify v1.0.1" in recsys.run("models", "pin", "v1.0.1", status=1)

    assert "is sound" in recsys.run("models", "verify", "v1.0.1")
    recsys.run("models", "pin", "v1.0.1")
    server.wait_version("v1.0.1", 2)
    assert server.request("/health").json["quarantined"] == []
