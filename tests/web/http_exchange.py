"""Requests that no HTTP client would send, and what every answer is held against."""

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

from service import Answer, ServerProcess

from recsys.datasets.ratings import Dataset

#: How long the shared server of the sample waits for a body.
BODY_TIMEOUT_S = 1.0
#: Ids that break routing, quoting or JSON where somebody was careless.
ODD_IDS = (
    *("007", "7", "a/b", "two words", "a+b", "a%2Fb", "%", "?n=1", "#top", "..", '"quoted"', "it's", "back\\slash"),
    *("<b>", "ünïcode", "日本", "🎬", "a;b", "a=b&c=d", "-1", "1e3", "null", "x" * 256),
)


def seen_by(data: Dataset, user_id: str) -> set[str]:
    """The items that the files say a user has rated."""
    user = data.user_ids.index(user_id)
    return {data.catalogue.item_ids[item] for item in data.items[data.users == user].tolist()}


def ids(answer: Answer) -> list[str]:
    return [item["item_id"] for item in answer.json["items"]]


def user_path(user_id: str, query: str = "") -> str:
    return f"/api/v1/users/{quote(user_id, safe='')}/recommendations{query}"


def exchange(server: ServerProcess, *parts: bytes, between: Callable[[], Any] = lambda: None) -> Answer:
    """Send these very bytes, calling `between` before each further part, and read one answer."""
    with connected(server) as connection:
        for number, part in enumerate(parts):
            if number:
                between()
            connection.sendall(part)
        return read_answer(connection, head=parts[0].startswith(b"HEAD "))


@contextlib.contextmanager
def connected(server: ServerProcess) -> Iterator[socket.socket]:
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), timeout=15) as connection:
        yield connection


def read_answer(connection: socket.socket, *, head: bool = False) -> Answer:
    answer = HTTPResponse(connection, method="HEAD" if head else "GET")
    answer.begin()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def request_bytes(method: str, path: str | bytes, *headers: bytes, body: bytes | None = None) -> bytes:
    """The bytes of a request; a body gets its Content-Length and is JSON unless `headers` say otherwise."""
    target = path.encode() if isinstance(path, str) else path
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: recsys.test", b"Connection: close", *headers]
    if body is not None:
        if not any(header.lower().startswith(b"content-type:") for header in headers):
            lines.append(b"Content-Type: application/json")
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def problem_of(answer: Answer, status: int, code: str | None = None) -> list[str]:
    """Check that an answer is a whole problem document; return the fields it names."""
    assert status == answer.status, answer.body[:500]
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    problem = answer.json
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(problem)
    assert status == problem["status"]
    assert answer.headers["X-Request-ID"] == problem["request_id"]
    assert all(problem[name] for name in ("type", "title", "detail", "code"))
    assert "Traceback" not in json.dumps(problem)
    if code is not None:
        assert code == problem["code"]
    return [error["where"] for error in problem.get("errors", [])]
