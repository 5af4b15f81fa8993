"""Two services and one bucket: what one publishes the other serves, and nobody who asks it meanwhile notices."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buckets import CREDENTIALS
from service import ServerProcess, copy_version

from recsys.settings import S3Settings

_TOKEN = "a-token-for-the-tests"
_ADMIN = {"Authorization": f"Bearer {_TOKEN}"}
Start = Callable[..., ServerProcess]


@pytest.fixture
def start(
    serve: Start, tmp_path: Path, bucket_server: str, make_s3: Callable[..., S3Settings], full: bool, moto: str
) -> Start:
    """Start services of one bucket, each with a directory of its own."""
    if not full and bucket_server != moto:
        pytest.skip("beside the other server: --full; what is said to either is tested in artifacts and jobs")
    settings = make_s3(bucket_server)

    def begin(
        name: str, role: str = "both", *, endpoint: str = bucket_server, wait: bool = True, **environ: str
    ) -> ServerProcess:
        return serve(
            wait=wait,
            environ={
                **CREDENTIALS,
                "S3_BUCKET_NAME": settings.bucket or "",
                "RECSYS_S3__ENDPOINT_URL": endpoint,
                "RECSYS_S3__ROLE": role,
                "RECSYS_S3__POLL_INTERVAL_S": "1",
                "RECSYS_S3__TIMEOUT_S": "2",
                "RECSYS_PATHS__MODELS": str(tmp_path / name / "models"),
                "RECSYS_PATHS__STATE": str(tmp_path / name / "state"),
                "RECSYS_ADMIN__TOKEN": _TOKEN,
            },
        )

    return begin


def _retrain(server: ServerProcess) -> str:
    """Ask for a run of our own, once the first one has ended."""
    server.wait_for(lambda: server.request("/health").json["retraining"]["running"] is None, "idle", 30)
    return str(server.request("/admin/retrain", method="POST", headers=_ADMIN).json["job_id"])


def _sync(server: ServerProcess) -> Any:
    return server.request("/health").json["sync"]


@pytest.mark.slow
def test_what_one_publishes_the_other_serves_within_three_seconds(start: Start) -> None:
    trainer = start("trainer")
    follower = start("follower", "pull")
    follower.wait_version("v1.0.0")
    assert follower.request("/health").json["model_because"] == "pointer"
    assert follower.request("/admin/retrain", method="POST", headers=_ADMIN).json["code"] == "pull_only"
    answered: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answered.append(follower.request("/api/v1/users/1/recommendations").status)
            except OSError:
                answered.append(0)
            time.sleep(0.01)

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for each in asking:
        each.start()
    try:
        job = _retrain(trainer)
        trainer.wait_for(lambda: _sync(trainer)["pointer"]["version"] == "v1.0.1", "published", 60)
        published = time.monotonic()
        follower.wait_version("v1.0.1", 10)
        took_s = time.monotonic() - published
    finally:
        stop.set()
        for each in asking:
            each.join(30)

    assert {200} == set(answered)
    assert len(answered) > 50
    assert took_s <= 3
    trainer.wait_for(
        lambda: trainer.request(f"/admin/jobs/{job}", headers=_ADMIN).json["status"] == "accepted", "accepted"
    )
    assert (follower.stop(), trainer.stop()) == (0, 0)


@pytest.mark.slow
def test_a_bucket_that_is_away_at_start_does_not_keep_a_service_from_serving(
    start: Start, trained_sample: Path, tmp_path: Path
) -> None:
    models = tmp_path / "alone" / "models"
    (models / ".staging").mkdir(parents=True)
    copy_version(trained_sample / "v1.0.0", models / "v1.0.0")
    server = start("alone", endpoint="http://127.0.0.1:9")
    server.wait_for(lambda: _sync(server)["reachable"] is False, "unreachable", 30)
    health = server.request("/health").json

    assert (health["status"], health["model_version"]) == ("degraded", "v1.0.0")
    assert "cannot be reached" in health["sync"]["problem"]
    assert server.request("/health/ready").status == 200
    assert server.request("/api/v1/users/1/recommendations").status == 200
    assert "recsys_sync_reachable 0.0" in server.request("/metrics").body.decode()


@pytest.mark.slow
def test_an_operator_moves_the_pointer_and_all_follow(start: Start, bucket_server: str, tmp_path: Path) -> None:
    service = start("one")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")} | {
        **CREDENTIALS,
        "S3_BUCKET_NAME": _sync(service)["bucket"].removeprefix("s3://"),
        "RECSYS_S3__ENDPOINT_URL": bucket_server,
        "RECSYS_PATHS__MODELS": str(tmp_path / "desk" / "models"),
        "RECSYS_PATHS__STATE": str(tmp_path / "desk" / "state"),
    }
    _retrain(service)
    service.wait_version("v1.0.1", 60)

    def recsys(*arguments: str) -> str:
        """In a process of its own: the command sets logging up for good."""
        command = [sys.executable, "-m", "recsys", "models", *arguments]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "v1.0.1" in recsys("list", "--remote")
    assert "v1.0.0 is current now, before it was v1.0.1" in recsys("rollback", "--remote")
    service.wait_version("v1.0.0", 5)
    assert "v1.0.1 is here" in recsys("pull", "v1.0.1")
    assert "v1.0.1 is in s3://" in recsys("push", "v1.0.1")
    recsys("promote", "v1.0.1")
    answer = service.request("/admin/sync", method="POST", headers=_ADMIN)
    assert (answer.status, answer.json["pointer"]["version"]) == (200, "v1.0.1")

    assert service.request("/health").json["model_version"] == "v1.0.1"


def test_without_a_bucket_there_is_nothing_to_sync(serve: Start, trained_sample: Path, tmp_path: Path) -> None:
    (tmp_path / "models" / ".staging").mkdir(parents=True)
    copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.0")
    server = serve(environ={"RECSYS_ADMIN__TOKEN": _TOKEN})

    assert _sync(server) is None
    answer = server.request("/admin/sync", method="POST", headers=_ADMIN)
    assert (answer.status, answer.json["code"]) == (409, "no_bucket")
