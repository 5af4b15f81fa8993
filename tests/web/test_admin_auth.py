"""Who gets into /admin, where the token comes from, and that its value goes nowhere else."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from service import ROOT, ServerProcess

Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
    store_with("v1.0.0")
    return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})


class TestEveryRoute:
    def test_asks_for_the_token_and_says_how(self, server: ServerProcess) -> None:
        routes = _admin_routes(server)
        assert len(routes) >= 10
        for method, path in routes:
            answer = server.request(path, method=method, body={"version": "v1.0.0"} if method == "PUT" else None)
            assert (answer.status, answer.json["code"]) == (401, "not_signed_in"), (method, path)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    def test_asks_for_the_token_before_it_looks_at_query_or_body(self, server: ServerProcess) -> None:
        assert server.request("/admin/models?nonsense=1").status == 401
        assert server.request("/admin/pin", method="PUT", body=b"{").status == 401
        assert server.request("/admin/models/not-a-version").status == 401

    def test_refuses_a_wrong_token_and_lets_the_right_one_in(self, server: ServerProcess) -> None:
        wrong = server.request("/admin/models", headers=bearer(TOKEN + "x"))
        assert (wrong.status, wrong.json["code"]) == (403, "wrong_token")
        assert server.request("/admin/models", headers=bearer(TOKEN)).status == 200
        assert server.request("/admin/models", headers={"Authorization": f"bearer {TOKEN}"}).status == 200

    @pytest.mark.parametrize("given", [f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer "])
    def test_takes_no_other_way_of_saying_it(self, server: ServerProcess, given: str) -> None:
        assert server.request("/admin/models", headers={"Authorization": given}).status == 401

    def test_takes_bytes_that_are_no_text_for_a_wrong_token(self, server: ServerProcess) -> None:
        connection = HTTPConnection(urlsplit(server.address).netloc, timeout=10)
        connection.request("GET", "/admin/models", headers={"Authorization": b"Bearer \xff\xfe" + TOKEN.encode()})
        answer = connection.getresponse()
        assert answer.status == 403, answer.read()
        connection.close()

    def test_takes_no_query(self, server: ServerProcess) -> None:
        assert server.request("/admin/models?nonsense=1", headers=bearer(TOKEN)).status == 400


class TestGuessing:
    def test_ends_after_ten_wrong_ones_also_for_a_right_one(self, server: ServerProcess) -> None:
        # if the right one still got in, guessing would go on unhindered: refused guesses would cost nothing
        assert [server.request("/admin/models", headers=bearer(f"guess {n}")).status for n in range(10)] == [403] * 10

        for token in ("guess 11", TOKEN):
            answer = server.request("/admin/models", headers=bearer(token))
            assert (answer.status, answer.json["code"]) == (429, "too_many_tries")
            assert 0 < int(answer.headers["Retry-After"]) <= 60

    def test_leaves_the_public_routes_alone(self, server: ServerProcess) -> None:
        for n in range(11):
            server.request("/admin/models", headers=bearer(f"guess {n}"))
        assert server.request("/api/v1/users/1/recommendations").status == 200
        assert server.request("/health").status == 200

    def test_is_forgiven_by_a_right_one(self, server: ServerProcess) -> None:
        for n in range(9):
            server.request("/admin/models", headers=bearer(f"guess {n}"))
        assert server.request("/admin/models", headers=bearer(TOKEN)).status == 200
        assert server.request("/admin/models", headers=bearer("guess 10")).status == 403
        assert server.request("/admin/models", headers=bearer(TOKEN)).status == 200

    def test_counts_no_request_without_a_token(self, server: ServerProcess) -> None:
        for _ in range(15):
            assert server.request("/admin/models").status == 401
        assert server.request("/admin/models", headers=bearer(TOKEN)).status == 200


class TestPlace:
    def test_is_a_file_for_its_owner_only_made_once(
        self, serve: Serve, store_with: Callable[..., object], tmp_path: Path
    ) -> None:
        store_with("v1.0.0")
        first = serve()
        path = tmp_path / "state" / "admin-token"
        token = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(token) >= 32
        assert any(str(path) in line for line in first.log)
        assert first.request("/admin/models", headers=bearer(token)).status == 200
        first.stop()

        second = serve()
        assert token == path.read_text().strip()
        assert second.request("/admin/models", headers=bearer(token)).status == 200

    def test_is_made_again_where_a_crash_left_it_empty(
        self, serve: Serve, store_with: Callable[..., object], tmp_path: Path
    ) -> None:
        # a kill between making the file and writing it must not keep the service from ever starting again
        store_with("v1.0.0")
        path = tmp_path / "state" / "admin-token"
        path.parent.mkdir()
        path.touch(0o600)

        server = serve()
        assert server.request("/admin/models", headers=bearer(path.read_text().strip())).status == 200

    def test_may_be_a_file_of_the_operator(
        self, serve: Serve, store_with: Callable[..., object], tmp_path: Path
    ) -> None:
        store_with("v1.0.0")
        (tmp_path / "secret").write_text(TOKEN + "\n")
        server = serve(environ={"RECSYS_ADMIN__TOKEN_FILE": str(tmp_path / "secret")})

        assert server.request("/admin/models", headers=bearer(TOKEN)).status == 200
        assert not (tmp_path / "state" / "admin-token").exists()

    @pytest.mark.parametrize("name", ["RECSYS_ADMIN__TOKEN", "RECSYS_ADMIN__TOKEN_FILE"])
    def test_must_not_be_too_short(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "secret").write_text("shortish-secret")
        value = str(tmp_path / "secret") if name.endswith("_FILE") else "shortish-secret"
        done = _serve_once(tmp_path, {name: value})

        assert done.returncode == 1
        assert name in done.stderr
        assert "16 characters" in done.stderr
        assert "shortish-secret" not in done.stderr
        assert "Traceback" not in done.stderr

    def test_that_is_missing_is_one_clear_line(self, tmp_path: Path) -> None:
        done = _serve_once(tmp_path, {"RECSYS_ADMIN__TOKEN_FILE": str(tmp_path / "nowhere")})

        assert done.returncode == 1
        assert "RECSYS_ADMIN__TOKEN_FILE" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_token_is_in_no_log_line_and_no_answer(
    serve: Serve, store_with: Callable[..., object], tmp_path: Path
) -> None:
    store_with("v1.0.0", "v1.0.1")
    environ = {"RECSYS_LOG__LEVEL": "DEBUG", "RECSYS_LOG__ACCESS": "true"}
    server = serve(environ=environ | {"RECSYS_ADMIN__TOKEN": TOKEN})
    answers = []
    for method, path in _admin_routes(server):
        if path != "/admin/events":
            body = {"version": "v1.0.0"} if method == "PUT" else None
            answers.append(server.request(path, method=method, body=body, headers=bearer(TOKEN)))
    # a store gone bad under requests that carry the token
    (tmp_path / "models").rename(tmp_path / "away")
    (tmp_path / "models").mkdir()
    os.mkfifo(tmp_path / "models" / "v1.0.0")
    answers += [server.request(path, headers=bearer(TOKEN)) for path in ("/admin/models", "/admin/models/v1.0.0")]
    answers += [server.request(path) for path in ("/health", "/metrics", "/openapi.json", "/docs", "/admin/models")]
    answers.append(server.request("/admin/models", headers=bearer(f"{TOKEN}-and-more")))
    server.stop()

    assert len(server.log) > 10
    assert [line for line in server.log if TOKEN in line] == []
    assert [answer for answer in answers if TOKEN in f"{answer.headers}{answer.body!r}"] == []


def test_a_traceback_in_the_log_shows_no_values(tmp_path: Path) -> None:
    """Both log forms can print every local variable of every frame, tokens and ratings with them."""
    script = """
import sys, structlog
from recsys.cli.logs import configure_logging
configure_logging("INFO", sys.argv[1])
given = "".join(["held-", "in-a-local"])
def fail(token):
    raise RuntimeError("boom")
try:
    fail(given)
except RuntimeError:
    structlog.get_logger().exception("failed")
import logging
try:
    fail(given)
except RuntimeError:
    logging.getLogger("library").exception("failed too")
"""
    (tmp_path / "script.py").write_text(script)
    for form in ("console", "json"):
        done = subprocess.run(
            [sys.executable, "script.py", form], cwd=tmp_path, text=True, capture_output=True, timeout=30, check=True
        )
        assert all(words in done.stderr for words in ("failed too", "RuntimeError", "boom")), form
        assert "held-in-a-local" not in done.stderr, form


def _admin_routes(server: ServerProcess) -> list[tuple[str, str]]:
    paths = json.loads(server.request("/openapi.json").body)["paths"]
    return [
        (method.upper(), path.replace("{version}", "v1.0.0").replace("{job_id}", "none"))
        for path, methods in paths.items()
        for method in methods
        if path.startswith("/admin")
    ]


def _serve_once(directory: Path, environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {
        "RECSYS_PATHS__MODELS": str(directory / "models"),
        "RECSYS_PATHS__STATE": str(directory / "state"),
        "RECSYS_PATHS__SAMPLE": str(directory / "sample"),
        "RECSYS_CONFIG_DIR": str(ROOT / "config"),
    } | environ
    return subprocess.run(
        [sys.executable, "-m", "recsys", "serve", "--port", "0"],
        cwd=directory, env=env, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
