"""X-Request-ID: echoed when it is sound, made when it is not, on every answer."""

import pytest
from http_exchange import exchange, request_bytes
from service import ServerProcess

pytest_plugins = ["http_server"]


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd-8448eb211c80319c", "nightly/7:3+x=_.", "a" * 128])
def test_a_sound_one_comes_back(server: ServerProcess, given: str) -> None:
    assert given == server.request("/health/live", headers={"X-Request-ID": given}).headers["X-Request-ID"]


@pytest.mark.parametrize(
    "given",
    [b"", b" ", b"a" * 129, b"two words", b"<script>", b'"', b"a,b", b"a;b", b"\xff", "ü".encode(), b"%0d%0a", b"a\tb"],
)
def test_any_other_is_replaced(server: ServerProcess, given: bytes) -> None:
    answer = exchange(server, request_bytes("GET", "/health/live", b"X-Request-ID: " + given))

    assert answer.status == 200
    assert answer.headers["X-Request-ID"].encode() not in (given, b"")


def test_made_ones_differ(server: ServerProcess) -> None:
    made = {server.request("/health/live").headers["X-Request-ID"] for _ in range(20)}

    assert len(made) == 20


@pytest.mark.parametrize("newline", [b"\r\n", b"\n", b"\r"])
def test_it_cannot_bring_a_header_of_its_own(server: ServerProcess, newline: bytes) -> None:
    answer = exchange(server, request_bytes("GET", "/health/live", b"X-Request-ID: a" + newline + b" Set-Cookie: b=c"))

    assert "Set-Cookie" not in answer.headers
    assert "Set-Cookie" not in answer.headers.get("X-Request-ID", "")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/", "/docs", "/openapi.json", "/static/style.css", "/favicon.ico", "/metrics")),
        *(("GET", path) for path in ("/health", "/health/ready", "/api/v1/users/1/recommendations", "/api/v1/items")),
        *(("GET", path) for path in ("/api/v1/users/1/recommendations?n=0", "/api/v1/items/none", "/nowhere")),
        *(("DELETE", path) for path in ("/health", "/api/v1/items/1")),
    ],
)
def test_every_answer_has_it(server: ServerProcess, method: str, path: str) -> None:
    answer = server.request(path, method=method, headers={"X-Request-ID": "mine"})

    assert answer.headers["X-Request-ID"] == "mine"


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(request_bytes("GET", "/health/ü"), id="address that is not ASCII"),
        pytest.param(request_bytes("GET", "/" + "a" * 70_000), id="address too long"),
        pytest.param(request_bytes("GET", "/health/live", b"X-A: " + b"a" * 70_000), id="header too long"),
        pytest.param(request_bytes("GET", "/health/live", *[b"X-A: a"] * 500), id="too many headers"),
        pytest.param(request_bytes("GET", "/health/live", b"X A: a"), id="header that is none"),
        pytest.param(request_bytes("BREW", "/health/live"), id="method that is none"),
        pytest.param(b"GET /health/live HTTP/9.9\r\n\r\n", id="version that is none"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", id="TLS"),
        pytest.param(
            request_bytes("POST", "/api/v1/recommendations", b"Content-Encoding: br", body=b"{}"), id="unknown packing"
        ),
        pytest.param(
            request_bytes("POST", "/api/v1/recommendations", b"Transfer-Encoding: chunked", body=b"{}"),
            id="two lengths",
        ),
        pytest.param(
            request_bytes("POST", "/api/v1/recommendations", b"Transfer-Encoding: chunked") + b"zz\r\n", id="no chunk"
        ),
        pytest.param(request_bytes("POST", "/api/v1/recommendations", b"Content-Length: -1"), id="negative length"),
    ],
)
def test_also_what_is_no_request_gets_a_problem_with_an_id(server: ServerProcess, request_: bytes) -> None:
    """Refused by the parser, before any route: the promise of problem+json and an id holds there too."""
    answer = exchange(server, request_)

    assert 400 <= answer.status < 500
    assert answer.headers["Content-Type"].split(";")[0] == "application/problem+json"
    assert answer.headers["X-Request-ID"] == answer.json["request_id"]


def test_what_is_no_request_is_one_line_in_the_log(server: ServerProcess) -> None:
    """Anybody can send it: a traceback each would fill the disk."""
    before = len(server.log)
    for _ in range(5):
        exchange(server, b"GET / HTTP/9.9\r\n\r\n")
    server.request("/health/live")

    assert len(server.log) - before <= 5
