"""Retraining over HTTP: asking, following, cancelling."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from service import Answer, ServerProcess

Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
JOB_FIELDS = {
    *("job_id", "asked_because", "status", "stage", "progress", "reason", "metrics", "checks", "model_version"),
    *("created_at", "ended_at"),
}  # fmt: skip
ENDED = {"accepted", "rejected", "failed", "timed_out", "cancelled"}


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
    store_with("v1.0.0")
    return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})


def retrain(server: ServerProcess) -> Answer:
    return server.request("/admin/retrain", method="POST", headers=ADMIN)


def job(server: ServerProcess, job_id: str) -> Any:
    return server.request(f"/admin/jobs/{job_id}", headers=ADMIN).json


def wait_ended(server: ServerProcess, job_id: str) -> Any:
    server.wait_for(lambda: job(server, job_id)["status"] in ENDED, "ended", 60)
    return job(server, job_id)


def wait_idle(server: ServerProcess) -> None:
    """A version may be served a moment before the run that made it is on record as ended."""
    server.wait_for(lambda: server.request("/health").json["retraining"]["running"] is None, "idle", 60)


def audit(server: ServerProcess, action: str) -> list[str]:
    return [line for line in server.log if "admin action" in line and f"action={action}" in line]


class TestRetrain:
    def test_starts_a_job_and_says_where_to_follow_it(self, server: ServerProcess) -> None:
        answer = retrain(server)

        assert answer.status == 202
        assert {"job_id", "status"} == set(answer.json)
        assert answer.json["status"] in ("queued", "running")
        assert f"/admin/jobs/{answer.json['job_id']}" == answer.headers["Location"]
        assert server.request(answer.headers["Location"], headers=ADMIN).status == 200

    def test_gives_the_running_job_to_a_second_ask(self, server: ServerProcess) -> None:
        first, second = retrain(server), retrain(server)

        assert (first.status, second.status) == (202, 200)
        assert first.json["job_id"] == second.json["job_id"]
        assert first.headers["Location"] == second.headers["Location"]
        assert server.request("/admin/jobs", headers=ADMIN).json["total"] == 1

    def test_goes_through_its_stages_to_an_accepted_version_that_is_served(self, server: ServerProcess) -> None:
        job_id = retrain(server).json["job_id"]
        seen: list[tuple[str, float]] = []

        def ended() -> bool:
            found = job(server, job_id)
            seen.append((found["stage"], found["progress"]))
            return found["status"] in ENDED

        server.wait_for(ended, "ended", 60)
        done = job(server, job_id)
        assert set(done) == JOB_FIELDS
        assert (
            done["status"], done["model_version"], done["reason"], done["progress"],
        ) == ("accepted", "v1.0.1", None, 1)  # fmt: skip
        assert sorted(share for _, share in seen) == [share for _, share in seen]
        assert all(0 <= share <= 1 for _, share in seen)
        order = ["start", "read", "fit", "evaluate", "refit", "publish"]
        stages = [stage for stage, _ in seen]
        assert set(stages) <= set(order)
        assert sorted(stages, key=order.index) == stages
        assert len(set(stages)) > 2
        assert done["checks"]
        assert all(check["passed"] for check in done["checks"])
        assert done["metrics"]
        assert done["created_at"] < done["ended_at"]
        assert done["created_at"].endswith("Z")
        server.wait_version("v1.0.1", 2)

    def test_is_in_health_while_it_runs_and_after(self, server: ServerProcess) -> None:
        job_id = retrain(server).json["job_id"]
        assert job_id == server.request("/health").json["retraining"]["running"]["job_id"]
        wait_ended(server, job_id)

        retraining = server.request("/health").json["retraining"]
        assert (None, job_id, "accepted") == (
            retraining["running"], retraining["last"]["job_id"], retraining["last"]["status"],
        )  # fmt: skip

    def test_leaves_an_audit_line(self, server: ServerProcess) -> None:
        answer = retrain(server)
        server.wait_for(lambda: bool(audit(server, "retrain")), "audited")
        (line,) = audit(server, "retrain")
        assert answer.json["job_id"] in line
        assert answer.headers["X-Request-ID"] in line
        assert "127.0.0.1" in line

    def test_takes_only_post(self, server: ServerProcess) -> None:
        assert server.request("/admin/retrain", headers=ADMIN).status == 405

    def test_lists_jobs_newest_first_over_a_restart(self, server: ServerProcess, serve: Serve) -> None:
        first = retrain(server).json["job_id"]
        wait_ended(server, first)
        server.stop()
        server = serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})
        second = retrain(server).json["job_id"]
        wait_ended(server, second)

        listed = server.request("/admin/jobs", headers=ADMIN).json
        assert [second, first] == [item["job_id"] for item in listed["items"]]
        assert listed["total"] == 2
        assert job(server, first)["status"] == "accepted"


class TestCancel:
    def test_ends_the_run_and_publishes_nothing(self, server: ServerProcess, tmp_path: Path) -> None:
        job_id = retrain(server).json["job_id"]
        answer = server.request(f"/admin/jobs/{job_id}/cancel", method="POST", headers=ADMIN)

        assert (200, "cancelled", job_id) == (answer.status, answer.json["status"], answer.json["job_id"])
        assert "operator" in answer.json["reason"]
        assert set(answer.json) == JOB_FIELDS
        assert [path for path in (tmp_path / "models").iterdir() if path.name == "v1.0.1"] == []
        server.wait_for(lambda: bool(audit(server, "cancel")), "audited")
        again = retrain(server)
        assert again.status == 202
        assert wait_ended(server, again.json["job_id"])["status"] == "accepted"

    def test_is_refused_once_the_job_has_ended(self, server: ServerProcess) -> None:
        job_id = retrain(server).json["job_id"]
        server.request(f"/admin/jobs/{job_id}/cancel", method="POST", headers=ADMIN)
        answer = server.request(f"/admin/jobs/{job_id}/cancel", method="POST", headers=ADMIN)

        assert (answer.status, answer.json["code"]) == (409, "job_ended")


def test_an_unknown_job_is_not_found(server: ServerProcess) -> None:
    for path, method in (("/admin/jobs/none", "GET"), ("/admin/jobs/none/cancel", "POST")):
        answer = server.request(path, method=method, headers=ADMIN)
        assert (answer.status, answer.json["code"]) == (404, "unknown_job")


def test_a_rejected_run_says_which_check_refused_it_and_can_be_pinned(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    write_ratings(data, n_users=60)
    server = serve("--data", str(data), environ={"RECSYS_ADMIN__TOKEN": TOKEN})
    wait_idle(server)
    write_ratings(data, n_users=30)
    done = wait_ended(server, retrain(server).json["job_id"])

    assert (done["status"], done["model_version"]) == ("rejected", "v1.0.1")
    assert "ratings_not_shrunk" in done["reason"]
    state = server.request("/admin/models/v1.0.1", headers=ADMIN).json
    assert (state["status"], state["served"]) == ("rejected", False)
    assert "ratings_not_shrunk" in state["reason"]
    assert server.request("/health").json["model_version"] == "v1.0.0"

    pinned = server.request("/admin/pin", method="PUT", body={"version": "v1.0.1"}, headers=ADMIN)
    assert (pinned.status, pinned.json["served"]) == (200, "v1.0.1")


def test_retention_never_removes_what_is_served_pinned_previous_or_newest(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    write_ratings(data, n_users=60)
    (tmp_path / "models" / "notes").mkdir(parents=True)
    environ = {"RECSYS_ADMIN__TOKEN": TOKEN, "RECSYS_RETRAINING__KEEP_VERSIONS": "2"}
    server = serve("--data", str(data), environ=environ)
    wait_idle(server)

    def versions() -> set[str]:
        return {path.name for path in (tmp_path / "models").glob("v*")}

    for number in (1, 2):
        assert wait_ended(server, retrain(server).json["job_id"])["status"] == "accepted"
        server.wait_version(f"v1.0.{number}")
    server.wait_for(lambda: versions() == {"v1.0.1", "v1.0.2"}, "pruned to two")

    server.request("/admin/pin", method="PUT", body={"version": "v1.0.1"}, headers=ADMIN)
    for newest in ("v1.0.3", "v1.0.4"):
        done = wait_ended(server, retrain(server).json["job_id"])
        assert ("accepted", newest) == (done["status"], done["model_version"])
        # served and pinned, previous, newest: the last is what an unpin would serve
        server.wait_for(lambda kept=newest: versions() == {"v1.0.1", "v1.0.2", kept}, f"{newest} kept, others pruned")
    unpinned = server.request("/admin/pin", method="DELETE", headers=ADMIN)
    assert unpinned.json["served"] == "v1.0.4"
    assert (tmp_path / "models" / "notes").is_dir()


def write_ratings(path: Path, *, n_users: int) -> None:
    """Write ratings with two tastes, so that there is something to learn that popularity does not know."""
    dice = random.Random(7)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(n_users):
        liked = range(user % 2, 60, 2)
        lines += [f"{user},{item},5,{when}" for when, item in enumerate(dice.sample(list(liked), 16))]
    temporary = path.with_suffix(".part")
    temporary.write_text("\n".join(lines) + "\n")
    os.replace(temporary, path)
