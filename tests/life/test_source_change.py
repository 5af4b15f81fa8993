"""`--data` that names another source than the model's: train now, serve the old one meanwhile, compare with nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from life_of_a_process import TOKEN, admin, wait_idle, write_ratings
from service import ServerProcess

Serve = Callable[..., ServerProcess]
ENVIRON = {"RECSYS_ADMIN__TOKEN": TOKEN}


def manifest(server: ServerProcess, version: str) -> Any:
    return admin(server, f"/models/{version}").json["manifest"]


def check_names(server: ServerProcess, version: str) -> set[str]:
    return {check["name"] for check in manifest(server, version)["gate"]["checks"]}


def test_another_source_is_trained_on_at_start_and_back_again(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0")
    own = write_ratings(tmp_path / "own.csv")

    server = serve("--data", str(own), environ=ENVIRON)
    assert server.request("/health").json["model_version"] == "v1.0.0"
    assert server.request("/api/v1/users/1/recommendations").status == 200
    server.wait_version("v1.0.1", 60)
    manifest_of_own = manifest(server, "v1.0.1")
    assert (str(own), 60) == (manifest_of_own["data"]["source"], manifest_of_own["data"]["users"])
    # a tenth of the sample's ratings: any comparison with its model would have refused it
    assert set() == {name for name in check_names(server, "v1.0.1") if "shrunk" in name or "incumbent" in name}
    wait_idle(server)
    assert "own.csv" in server.request("/health").json["retraining"]["last"]["asked_because"]
    server.stop()

    again = serve("--data", str(own), environ=ENVIRON)
    assert again.request("/health").json["model_version"] == "v1.0.1"
    assert admin(again, "/jobs").json["total"] == 1, "the same source is no reason to train"
    again.stop()

    back = serve(environ=ENVIRON)
    assert back.request("/health").json["model_version"] == "v1.0.1"
    back.wait_version("v1.0.2", 60)
    wait_idle(back)
    assert manifest(back, "v1.0.2")["data"]["source"] == "sample"
    assert set() == {name for name in check_names(back, "v1.0.2") if "shrunk" in name or "incumbent" in name}


def test_a_source_that_cannot_be_read_leaves_the_old_model_serving(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0")
    server = serve("--data", str(tmp_path / "nowhere.csv"), environ=ENVIRON)
    server.wait_for(lambda: server.request("/health").json["retraining"]["last"] is not None, "ended", 60)

    last = server.request("/health").json["retraining"]["last"]
    assert last["status"] == "failed"
    assert "nowhere.csv" in last["reason"]
    assert server.request("/api/v1/users/1/recommendations").headers["X-Model-Version"] == "v1.0.0"


def test_a_pinned_model_is_not_replaced_because_the_source_changed(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0")
    environ = ENVIRON | {"RECSYS_MODEL__VERSION": "v1.0.0"}
    server = serve("--data", str(write_ratings(tmp_path / "own.csv")), environ=environ)

    health = server.request("/health").json
    assert (health["model_version"], health["retraining"]["running"]) == ("v1.0.0", None)
