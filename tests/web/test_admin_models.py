"""What an operator sees of versions, and pin, unpin and rollback: one call each, effective at once and lasting."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from service import Answer, ServerProcess, copy_version

from recsys.artifacts.store import ModelStore

Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
ENVIRON = {"RECSYS_ADMIN__TOKEN": TOKEN}
STATES = {"items", "total", "served", "because", "pinned", "pinned_by", "degraded", "strangers"}
REJECTED = {
    "verdict": "rejected",
    "checks": [
        {"name": "ratings_not_shrunk", "passed": False, "value": 1.0, "threshold": 2.0, "at_most": False, "detail": ""}
    ],
}


@pytest.fixture
def store(store_with: Callable[..., ModelStore], trained_sample: Path, tmp_path: Path) -> ModelStore:
    """v1.0.0 to v1.0.2 accepted, v1.0.3 rejected, v1.0.4 broken, and a stranger."""
    store = store_with("v1.0.0", "v1.0.1", "v1.0.2")
    copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.3", gate=REJECTED)
    copy_version(trained_sample / "v1.0.0", tmp_path / "models" / "v1.0.4")
    popularity = tmp_path / "models" / "v1.0.4" / "popularity.npy"
    popularity.write_bytes(popularity.read_bytes()[:-1] + b"\xff")
    (tmp_path / "models" / "v1.0.5").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("mine")
    return store


@pytest.fixture
def server(serve: Serve, store: ModelStore) -> ServerProcess:
    server = serve(environ=ENVIRON)
    server.wait_version("v1.0.2")
    return server


def pin(server: ServerProcess, version: str) -> Answer:
    return server.request("/admin/pin", method="PUT", body={"version": version}, headers=ADMIN)


def unpin(server: ServerProcess) -> Answer:
    return server.request("/admin/pin", method="DELETE", headers=ADMIN)


def rollback(server: ServerProcess) -> Answer:
    return server.request("/admin/rollback", method="POST", headers=ADMIN)


def served(server: ServerProcess) -> str:
    return str(server.request("/api/v1/users/1/recommendations").headers["X-Model-Version"])


class TestList:
    def test_says_of_each_version_what_it_is_and_why(self, server: ServerProcess) -> None:
        answer = server.request("/admin/models", headers=ADMIN)

        assert answer.status == 200
        states = answer.json
        assert set(states) == STATES
        found = {item["version"]: (item["status"], item["served"]) for item in states["items"]}
        assert found == {
            "v1.0.0": ("accepted", False),
            "v1.0.1": ("accepted", False),
            "v1.0.2": ("accepted", True),
            "v1.0.3": ("rejected", False),
            "v1.0.4": ("quarantined", False),
            "v1.0.5": ("quarantined", False),
        }
        reasons = {item["version"]: item["reason"] for item in states["items"]}
        assert "ratings_not_shrunk" in reasons["v1.0.3"]
        assert "popularity.npy" in reasons["v1.0.4"]
        assert "no manifest.json" in reasons["v1.0.5"]
        assert (
            states["total"], states["served"], states["because"], states["pinned"], states["pinned_by"],
            states["degraded"], states["strangers"],
        ) == (6, "v1.0.2", "highest accepted", None, None, None, ["notes.txt"])  # fmt: skip
        assert sorted(found, reverse=True) == [item["version"] for item in states["items"]]

    def test_one_version_comes_with_its_manifest(self, server: ServerProcess) -> None:
        state = server.request("/admin/models/v1.0.3", headers=ADMIN).json

        assert (state["version"], state["status"], state["served"]) == ("v1.0.3", "rejected", False)
        assert state["manifest"]["gate"] == REJECTED
        assert {"files", "data", "metrics", "hyperparameters", "libraries"} <= set(state["manifest"])

    def test_a_broken_version_comes_with_the_reason(self, server: ServerProcess) -> None:
        state = server.request("/admin/models/v1.0.5", headers=ADMIN).json
        assert (state["status"], state["served"]) == ("quarantined", False)
        assert "no manifest.json" in state["reason"]

    @pytest.mark.parametrize("name", ["v9.0.0", "latest", "v1.0", "..%2F..%2Fstate"])
    def test_an_unknown_version_is_not_found(self, server: ServerProcess, name: str) -> None:
        answer = server.request(f"/admin/models/{name}", headers=ADMIN)
        assert (answer.status, answer.json["code"]) == (404, "unknown_version")


class TestPin:
    def test_is_in_force_when_the_call_returns(self, server: ServerProcess) -> None:
        answer = pin(server, "v1.0.0")

        assert answer.status == 200
        assert set(answer.json) == STATES
        assert (
            answer.json["served"], answer.json["pinned"], answer.json["pinned_by"], answer.json["because"],
        ) == ("v1.0.0", "v1.0.0", "operator", "pin")  # fmt: skip
        assert served(server) == "v1.0.0"
        health = server.request("/health").json
        assert (health["model_version"], health["pin"]) == ("v1.0.0", "v1.0.0")

    def test_and_unpin_take_less_than_a_second(self, server: ServerProcess) -> None:
        for act, version in (
            (lambda: pin(server, "v1.0.0"), "v1.0.0"),
            (lambda: unpin(server), "v1.0.2"),
            (lambda: rollback(server), "v1.0.1"),
        ):
            started = time.monotonic()
            assert act().status == 200
            server.wait_version(version, 1)
            assert time.monotonic() - started < 1

    def test_lasts_over_a_restart(self, server: ServerProcess, serve: Serve) -> None:
        pin(server, "v1.0.1")
        server.stop()
        again = serve(environ=ENVIRON)
        assert (served(again), again.request("/health").json["pin"]) == ("v1.0.1", "v1.0.1")

        unpin(again)
        again.stop()
        assert served(serve(environ=ENVIRON)) == "v1.0.2"

    def test_lasts_over_a_retraining_and_gives_way_when_lifted(self, server: ServerProcess) -> None:
        pin(server, "v1.0.0")
        job_id = server.request("/admin/retrain", method="POST", headers=ADMIN).json["job_id"]

        def job() -> dict[str, str]:
            return dict(server.request(f"/admin/jobs/{job_id}", headers=ADMIN).json)

        server.wait_for(lambda: job()["status"] == "accepted", "accepted", 60)
        new = job()["model_version"]
        assert served(server) == "v1.0.0"
        states = server.request("/admin/models", headers=ADMIN).json
        assert (new, "v1.0.0") == (states["items"][0]["version"], states["served"])
        assert new == unpin(server).json["served"]

    def test_serves_a_rejected_version(self, server: ServerProcess) -> None:
        answer = pin(server, "v1.0.3")
        assert (answer.status, answer.json["served"]) == (200, "v1.0.3")
        assert served(server) == "v1.0.3"
        assert unpin(server).json["served"] == "v1.0.2"

    @pytest.mark.parametrize(
        ("version", "status", "code"),
        [
            ("v1.0.4", 422, "version_invalid"),
            ("v1.0.5", 422, "version_invalid"),
            ("v9.0.0", 404, "unknown_version"),
            ("latest", 404, "unknown_version"),
        ],
    )
    def test_refuses_what_cannot_be_served(
        self, server: ServerProcess, tmp_path: Path, version: str, status: int, code: str
    ) -> None:
        answer = pin(server, version)

        assert (status, code) == (answer.status, answer.json["code"])
        assert served(server) == "v1.0.2"
        assert None is server.request("/health").json["pin"]
        assert not (tmp_path / "state" / "store" / "pin.json").exists()

    @pytest.mark.parametrize("body", [{}, {"version": None}, {"version": "v1.0.0", "force": True}, [], b"v1.0.0"])
    def test_refuses_a_body_it_does_not_know(self, server: ServerProcess, body: object) -> None:
        headers = ADMIN | {"Content-Type": "application/json"}
        assert server.request("/admin/pin", method="PUT", body=body, headers=headers).status == 400

    def test_a_broken_version_that_is_put_right_is_served(
        self, server: ServerProcess, tmp_path: Path, trained_sample: Path
    ) -> None:
        sound = (trained_sample / "v1.0.0" / "popularity.npy").read_bytes()
        (tmp_path / "models" / "v1.0.4" / "popularity.npy").write_bytes(sound)
        server.wait_version("v1.0.4", 2)
        assert server.request("/admin/models/v1.0.4", headers=ADMIN).json["status"] == "accepted"

    def test_lifting_one_that_is_not_there_does_no_harm(self, server: ServerProcess) -> None:
        answer = unpin(server)
        assert (answer.status, answer.json["served"], answer.json["pinned"]) == (200, "v1.0.2", None)


class TestRollback:
    def test_steps_down_one_by_one_to_the_lowest(self, server: ServerProcess) -> None:
        assert [rollback(server).json["served"] for _ in range(2)] == ["v1.0.1", "v1.0.0"]
        answer = rollback(server)
        assert (answer.status, answer.json["code"]) == (409, "nothing_to_roll_back")
        assert served(server) == "v1.0.0"

    def test_lasts_over_a_restart(self, server: ServerProcess, serve: Serve) -> None:
        assert rollback(server).json["pinned"] == "v1.0.1"
        server.stop()
        assert served(serve(environ=ENVIRON)) == "v1.0.1"


class TestSettingPin:
    def test_refuses_to_be_overruled_and_says_why(self, serve: Serve, store: ModelStore, tmp_path: Path) -> None:
        server = serve(environ=ENVIRON | {"RECSYS_MODEL__VERSION": "v1.0.1"})

        for answer in (pin(server, "v1.0.0"), unpin(server), rollback(server)):
            assert (answer.status, answer.json["code"]) == (409, "pinned_by_setting")
            assert "RECSYS_MODEL__VERSION" in answer.json["detail"]
        states = server.request("/admin/models", headers=ADMIN).json
        assert (states["served"], states["pinned"], states["pinned_by"]) == ("v1.0.1", "v1.0.1", "setting")
        assert not (tmp_path / "state" / "store" / "pin.json").exists()


def test_every_action_leaves_an_audit_line_with_what_was_done(server: ServerProcess) -> None:
    answers = {"pin": pin(server, "v1.0.1"), "rollback": rollback(server), "unpin": unpin(server)}

    for action, answer in answers.items():

        def lines(action: str = action, answer: Answer = answer) -> list[str]:
            wanted = ("admin action", f"action={action}", answer.headers["X-Request-ID"])
            return [line for line in server.log if all(part in line for part in wanted)]

        server.wait_for(lambda lines=lines: len(lines()) == 1, f"{action} audited")
        assert "remote=127.0.0.1" in lines()[0]
    assert any("action=pin" in line and "version=v1.0.1" in line for line in server.log)
    assert any("action=rollback" in line and "version=v1.0.0" in line for line in server.log)


def test_a_refused_action_leaves_no_audit_line_that_says_it_was_done(server: ServerProcess) -> None:
    pin(server, "v9.0.0")
    server.request("/admin/pin", method="PUT", body={"version": "v1.0.0"})
    rollback(server)
    server.wait_for(lambda: any("action=rollback" in line for line in server.log), "audited")
    assert [line for line in server.log if "action=pin" in line] == []
