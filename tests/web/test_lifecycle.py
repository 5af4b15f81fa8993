"""The process from its first start to SIGTERM: what it answers meanwhile, and what it leaves behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from http_exchange import connected, problem_of, read_answer, request_bytes, user_path
from service import ROOT, ServerProcess

pytest_plugins = ["http_server"]
MODEL_ROUTES = [
    *(user_path("1"), "/api/v1/items", "/api/v1/items/1", "/api/v1/items/1/similar", "/api/v1/items/popular"),
    "/api/v1/genres",
]
Serve = Callable[..., ServerProcess]


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def children_of(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            found |= {int(entry.name)} if parent == pid else set()
    return found


def is_running(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestFirstStart:
    def test_without_model_and_data_makes_both_and_says_how_far_it_is(self, serve: Serve, tmp_path: Path) -> None:
        server = serve(environ={"RECSYS_PATHS__SAMPLE": str(tmp_path / "made")}, wait=False)

        assert server.request("/health/live").status == 200
        ready = server.request("/health/ready")
        assert ready.status == 503
        assert int(ready.headers["Retry-After"]) > 0
        assert (ready.json["status"], ready.json["model_version"]) == ("starting", None)
        assert isinstance(ready.json["stage"], str)
        assert server.request("/health").json["status"] == "starting"

        server.wait_ready()
        assert (
            server.request(user_path("1")).status,
            server.request("/health").json["model_version"],
        ) == (200, "v1.0.0")
        assert (tmp_path / "made" / "ratings.csv").is_file()

    def test_progress_only_rises(self, serve: Serve) -> None:
        server = serve(wait=False)
        seen: list[float] = []

        def ready() -> bool:
            answer = server.request("/health/ready")
            if answer.json["progress"] is not None:
                seen.append(answer.json["progress"])
            return answer.status == 200

        server.wait_for(ready, "ready", 60)
        assert seen
        assert sorted(seen) == seen
        assert all(0 <= share <= 1 for share in seen)


class TestWithoutModel:
    @pytest.fixture
    def server(self, serve: Serve, tmp_path: Path) -> ServerProcess:
        """One whose data is not there, so that no model ever comes."""
        server = serve("--data", str(tmp_path / "nowhere"), wait=False)
        server.wait_for(
            lambda: server.request("/health").json["retraining"]["last"] is not None, "a failed training", 30
        )
        return server

    def test_every_route_of_a_model_says_when_to_ask_again(self, server: ServerProcess) -> None:
        answers = [server.request(path) for path in MODEL_ROUTES]
        answers.append(server.request("/api/v1/recommendations", method="POST", body={"ratings": []}))
        answers.append(server.request("/api/v1/recommendations/batch", method="POST", body={"user_ids": ["1"]}))

        for answer in answers:
            problem_of(answer, 503, "model_not_ready")
            assert int(answer.headers["Retry-After"]) > 0
            assert "X-Model-Version" not in answer.headers

    def test_everything_else_answers(self, server: ServerProcess) -> None:
        for path in ("/", "/docs", "/openapi.json", "/health", "/health/live", "/metrics"):
            assert server.request(path).status == 200
        problem_of(server.request("/nowhere"), 404)

    def test_health_says_why_there_is_none(self, server: ServerProcess) -> None:
        last = server.request("/health").json["retraining"]["last"]

        assert last["status"] == "failed"
        assert "nowhere does not exist" in last["reason"]

    def test_a_model_that_is_copied_in_is_served(
        self, server: ServerProcess, store_with: Callable[..., object]
    ) -> None:
        store_with("v1.0.0")

        server.wait_version("v1.0.0")
        assert server.request(user_path("1")).status == 200


class TestSigterm:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_an_idle_service_at_once(
        self, serve: Serve, store_with: Callable[..., object], number: signal.Signals
    ) -> None:
        store_with("v1.0.0")
        server = serve()
        with connected(server):
            started = time.monotonic()
            assert server.stop(number) == 0
            assert time.monotonic() - started < 3

    def test_answers_what_is_in_flight(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve()
        body = b'{"ratings":[{"item_id":"1","rating":5}]}'
        whole = request_bytes("POST", "/api/v1/recommendations", body=body)
        with connected(server) as connection:
            connection.sendall(whole[:-5])
            server.wait_for(lambda: _in_flight(server) == 2, "in flight")
            server.process.send_signal(signal.SIGTERM)
            server.wait_for(lambda: any("stopping" in line for line in server.log), "stopping")
            connection.sendall(whole[-5:])
            answer = read_answer(connection)

        assert (answer.status, answer.json["model_version"]) == (200, "v1.0.0")
        assert server.process.wait(10) == 0

    def test_finishes_a_long_answer(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve()
        body = json.dumps({"user_ids": [str(number) for number in range(1, 1001)], "n": 100}).encode()
        with connected(server) as connection:
            connection.sendall(request_bytes("POST", "/api/v1/recommendations/batch", body=body))
            connection.recv(1, socket.MSG_PEEK)
            server.process.send_signal(signal.SIGTERM)
            answer = read_answer(connection)

        assert len(answer.json["results"]) == 1000
        assert server.process.wait(10) == 0

    def test_under_load_breaks_no_answer(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve()
        complete, broken = [], []
        stop = threading.Event()

        def load() -> None:
            while not stop.is_set():
                try:
                    with connected(server) as connection:
                        connection.sendall(request_bytes("GET", user_path("1", "?n=500")))
                        if not connection.recv(1, socket.MSG_PEEK):
                            return  # closed before the answer began: refused, not broken
                        answer = read_answer(connection)
                except ConnectionError:
                    return
                except Exception as error:
                    broken.append(error)
                    return
                (complete if answer.status == 200 and len(answer.json["items"]) == 500 else broken).append(answer)

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        assert eventually(lambda: len(complete) > 50)
        code = server.stop(timeout_s=10)
        stop.set()
        for client in clients:
            client.join(20)

        assert code == 0
        assert broken == []

    def test_does_not_wait_for_a_client_that_stalls(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve(environ={"RECSYS_SERVER__SHUTDOWN_S": "2"})
        head = request_bytes(
            "POST", "/api/v1/recommendations", b"Content-Type: application/json", b"Content-Length: 99"
        )
        with connected(server) as connection:
            connection.sendall(head)
            server.wait_for(lambda: _in_flight(server) == 2, "in flight")
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 2 + 2

    def test_while_training_leaves_no_process_behind(self, serve: Serve) -> None:
        server = serve(wait=False)
        assert eventually(lambda: len(children_of(server.process.pid)) > 0)
        children = children_of(server.process.pid)

        assert server.stop(timeout_s=10) == 0
        assert eventually(lambda: not any(is_running(child) for child in children), 5)

    def test_while_training_leaves_no_half_made_version(self, serve: Serve, tmp_path: Path) -> None:
        server = serve(wait=False)
        server.wait_for(lambda: bool(server.request("/health/ready").json["progress"]), "training on its way", 30)
        server.stop()

        versions = (tmp_path / "models").glob("v*")
        assert [path.name for path in versions if not (path / "manifest.json").exists()] == []
        again = serve()
        assert again.request("/health").json["status"] == "ok"

    def test_a_killed_service_leaves_no_process_behind(self, serve: Serve) -> None:
        server = serve(wait=False)
        server.wait_for(lambda: bool(server.request("/health/ready").json["progress"]), "training on its way", 30)
        children = children_of(server.process.pid)
        assert children

        server.stop(signal.SIGKILL)
        assert eventually(lambda: not any(is_running(child) for child in children), 10)


class TestAddress:
    def test_one_that_is_taken_is_one_clear_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = _serve_once(tmp_path, "--port", str(port))

        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1:{port}" in _error_line(done)

    def test_one_that_is_not_ours_is_one_clear_line(self, tmp_path: Path) -> None:
        done = _serve_once(tmp_path, "--host", "192.0.2.1", "--port", "0")

        assert done.returncode == 1
        assert "cannot listen on 192.0.2.1:0" in _error_line(done)

    def test_a_name_that_does_not_resolve_is_one_clear_line(self, tmp_path: Path) -> None:
        done = _serve_once(tmp_path, "--host", "no-such-host.invalid", "--port", "0")

        assert done.returncode == 1
        assert "no-such-host.invalid" in _error_line(done)


def test_a_models_path_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("")
    done = _serve_once(tmp_path, "--port", "0")

    assert done.returncode == 1
    assert str(tmp_path / "models") in _error_line(done)


def test_a_wrong_setting_stops_the_start_with_its_name(tmp_path: Path) -> None:
    done = _serve_once(tmp_path, "--port", "0", environ={"RECSYS_SERVER__BODY_TIMEOUT_S": "soon"})

    assert done.returncode == 1
    assert "RECSYS_SERVER__BODY_TIMEOUT_S: 'soon'" in _error_line(done)


def test_the_server_process_never_loads_what_only_training_needs(
    serve: Serve, store_with: Callable[..., object]
) -> None:
    store_with("v1.0.0")
    server = serve(environ={"PYTHONPROFILEIMPORTTIME": "1"})
    for path in (
        *MODEL_ROUTES,
        user_path("1", "?explain=true&genre=Drama"),
        "/docs",
        "/openapi.json",
        "/health",
        "/metrics",
    ):
        assert server.request(path).status == 200
    for path, body in (("", {"ratings": [{"item_id": "1", "rating": 5}]}), ("/batch", {"user_ids": ["1"] * 60})):
        assert server.request(f"/api/v1/recommendations{path}", method="POST", body=body).status == 200
    maps = (Path("/proc") / str(server.process.pid) / "maps").read_text()
    server.stop()

    loaded = {match[1] for line in server.log if (match := re.match(r"import time:.*\|\s+(\w+)", line))}
    assert {"numpy", "aiohttp"} <= loaded, "the list of imports is not there"
    assert set() == loaded & {"pandas", "scipy", "aiobotocore", "botocore"}
    assert set() == set(re.findall(r"/(pandas|scipy)/", maps))


def _in_flight(server: ServerProcess) -> int:
    text = server.request("/metrics").body.decode()
    (line,) = [line for line in text.splitlines() if line.startswith("recsys_http_requests_in_flight ")]
    return int(float(line.split()[1]))


def _serve_once(
    directory: Path, *arguments: str, environ: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {
        "RECSYS_PATHS__MODELS": str(directory / "models"),
        "RECSYS_PATHS__STATE": str(directory / "state"),
        "RECSYS_PATHS__SAMPLE": str(directory / "sample"),
        "RECSYS_CONFIG_DIR": str(ROOT / "config"),
    } | (environ or {})
    return subprocess.run(
        [sys.executable, "-m", "recsys", "serve", *arguments],
        cwd=directory, env=env, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def _error_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("recsys: ")]
    assert len(lines) == 1, done.stderr
    return lines[0]
