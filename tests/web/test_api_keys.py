"""RECSYS_API__KEYS_FILE: who may write ratings, and what is wrong with a file of keys."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from feedback_calls import RATINGS, TOKEN, about, put_item, rate, rating, ratings_of
from http_exchange import exchange, problem_of, request_bytes, user_path
from service import ROOT, Answer, ServerProcess

Serve = Callable[..., ServerProcess]
WEB, PHONE = "key-of-the-web-site", "key-of-the-telephone"
WRITES = [
    ("POST", RATINGS, {"ratings": [rating("ann", "1")]}),
    ("DELETE", about("ann", "/ratings/1"), None),
    ("DELETE", about("ann"), None),
    ("POST", "/api/v1/events", {"events": [{"recommendation_id": "x", "type": "click", "item_id": "1"}]}),
]
READS = [
    *(user_path("1"), about("1", "/ratings"), "/api/v1/items", "/api/v1/items/1", "/api/v1/items/1/similar"),
    *("/api/v1/items/popular", "/api/v1/items/trending", "/api/v1/genres", "/health", "/metrics"),
]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object], tmp_path: Path) -> ServerProcess:
    store_with("v1.0.0")
    keys = tmp_path / "keys"
    keys.write_bytes(f"# of the web site\r\n{WEB}\r\n\r\n  {PHONE}  \n# {TOKEN}-in-a-comment\n".encode())
    return serve(
        environ={
            "RECSYS_API__KEYS_FILE": str(keys),
            "RECSYS_ADMIN__TOKEN": TOKEN,
            "RECSYS_LOG__LEVEL": "DEBUG",
            "RECSYS_LOG__ACCESS": "true",
        }
    )


def write(server: ServerProcess, number: int, headers: dict[str, str]) -> Answer:
    method, path, body = WRITES[number]
    return server.request(path, method=method, body=body, headers=headers)


class TestWriting:
    def test_needs_one_of_the_keys(self, server: ServerProcess) -> None:
        for number in range(len(WRITES)):
            answer = write(server, number, {})
            problem_of(answer, 401, "not_signed_in")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
            for wrong in (f"{WEB}x", WEB[:-1], WEB.upper(), "x", f"{WEB} {PHONE}", TOKEN, f"# {TOKEN}-in-a-comment"):
                problem_of(write(server, number, bearer(wrong)), 403, "wrong_token")
        assert ratings_of(server, "ann") == []

        for key in (WEB, PHONE):
            assert rate(server, rating("ann", "1"), headers=bearer(key)).status == 200
            assert [write(server, number, bearer(key)).status for number in range(len(WRITES))] == [200, 200, 200, 400]

    @pytest.mark.parametrize("given", [f"Basic {WEB}", WEB, "Bearer", "Bearer ", f"Key {WEB}"])
    def test_takes_no_other_way_of_giving_it(self, server: ServerProcess, given: str) -> None:
        assert write(server, 0, {"Authorization": given}).status == 401

    def test_takes_bytes_that_are_no_text_for_a_wrong_key(self, server: ServerProcess) -> None:
        given = b"Authorization: Bearer \xff\xfe" + WEB.encode()

        problem_of(exchange(server, request_bytes("POST", RATINGS, given, body=b"{}")), 403, "wrong_token")

    def test_asks_for_the_key_before_it_looks_at_query_or_body(self, server: ServerProcess) -> None:
        assert server.request(f"{RATINGS}?nonsense=1", method="POST", body=b"{").status == 401
        assert server.request(about("x" * 300), method="DELETE").status == 401

    def test_is_asked_for_wherever_the_document_says_so(self, server: ServerProcess) -> None:
        paths = server.request("/openapi.json").json["paths"]
        keyed = {
            (method.upper(), path)
            for path, methods in paths.items()
            for method, operation in methods.items()
            if {"key": []} in operation.get("security", [])
        }

        assert keyed == {
            ("POST", RATINGS),
            ("POST", "/api/v1/events"),
            ("DELETE", "/api/v1/users/{user_id}"),
            ("DELETE", "/api/v1/users/{user_id}/ratings/{item_id}"),
        }

    def test_is_no_word_about_the_admin_token(self, server: ServerProcess) -> None:
        """Who writes an application should not go looking for the operator's secret."""
        for answer in (write(server, 0, {}), write(server, 0, bearer("x" * 20))):
            assert "admin" not in f"{answer.headers['WWW-Authenticate'] if answer.status == 401 else ''}{answer.json}"
            assert "RECSYS_API__KEYS_FILE" in answer.json["hint"]


class TestElsewhere:
    def test_reading_stays_open(self, server: ServerProcess) -> None:
        assert {server.request(path).status for path in READS} == {200}
        for path, body in (("recommendations", {"ratings": []}), ("recommendations/batch", {"user_ids": ["1"]})):
            assert server.request(f"/api/v1/{path}", method="POST", body=body).status == 200

    def test_a_key_is_no_token(self, server: ServerProcess) -> None:
        problem_of(server.request("/admin/models", headers=bearer(WEB)), 403, "wrong_token")
        answer = server.request("/api/v1/items/x", method="PUT", body={"title": "x"}, headers=bearer(WEB))
        problem_of(answer, 403, "wrong_token")
        assert put_item(server, "x").status == 201

    def test_a_key_is_in_no_answer_and_no_log_line(self, server: ServerProcess) -> None:
        answers = [write(server, number, bearer(key)) for number in range(4) for key in (WEB, f"{WEB}-and-more")]
        answers += [server.request(path) for path in (*READS, "/openapi.json", "/docs")]
        server.stop()

        assert len(server.log) > 10
        assert [line for line in server.log if WEB in line or PHONE in line] == []
        assert [answer for answer in answers if WEB in f"{answer.headers}{answer.body!r}"] == []

    def test_without_a_file_everybody_writes(self, serve: Serve, store_with: Callable[..., object]) -> None:
        store_with("v1.0.0")
        server = serve(environ={"RECSYS_API__KEYS_FILE": ""})

        assert rate(server, rating("ann", "1")).status == 200
        assert rate(server, rating("ann", "2"), headers=bearer("whatever")).status == 200


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read"), (b"", "lists no key"), (b"\n \n# only words\n", "lists no key"),
        (b"\xff" * 20, "cannot be read"), (b"a-long-enough-key-of-ours\nshortish-secret\n", "16 characters"),
    ],
    ids=["missing", "empty", "comments", "no text", "short"],
)  # fmt: skip
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path, content: bytes | None, problem: str) -> None:
    """Not a service that everybody may write to, because of a typo."""
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    done = serve_once(tmp_path, path)

    assert done.returncode == 1
    assert "RECSYS_API__KEYS_FILE" in done.stderr
    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
    assert "key-of-ours" not in done.stderr


def test_a_directory_of_keys_stops_the_start(tmp_path: Path) -> None:
    done = serve_once(tmp_path, tmp_path)

    assert (done.returncode, "RECSYS_API__KEYS_FILE" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


def serve_once(directory: Path, keys: Path) -> "subprocess.CompletedProcess[str]":
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {f"RECSYS_PATHS__{name.upper()}": str(directory / name) for name in ("models", "state", "sample")}
    env |= {"RECSYS_API__KEYS_FILE": str(keys), "RECSYS_CONFIG_DIR": str(ROOT / "config")}
    return subprocess.run(
        [sys.executable, "-m", "recsys", "serve", "--port", "0"],
        cwd=directory, env=env, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
