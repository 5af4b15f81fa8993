"""Methods and addresses that a route does not have."""

import pytest
from http_exchange import exchange, problem_of, request_bytes
from service import ServerProcess

from recsys.errors import RecsysError

pytest_plugins = ["http_server"]
GET_PATHS = [
    *("/", "/docs", "/openapi.json", "/static/docs.js", "/health", "/health/live", "/health/ready", "/metrics"),
    *("/api/v1/users/1/recommendations", "/api/v1/items", "/api/v1/items/1", "/api/v1/items/1/similar"),
    *("/api/v1/items/popular", "/api/v1/items/trending", "/api/v1/genres", "/api/v1/users/1/ratings"),
]
POST_PATHS = ["/api/v1/recommendations", "/api/v1/recommendations/batch", "/api/v1/ratings", "/api/v1/events"]
WRITTEN = {"/api/v1/items/1": ("PUT", "PATCH", "DELETE")}


@pytest.mark.parametrize("path", GET_PATHS)
def test_head_is_get_without_the_body(server: ServerProcess, path: str) -> None:
    """RFC 9110 9.1: a server must take HEAD wherever it takes GET."""
    get, head = (exchange(server, request_bytes(method, path)) for method in ("GET", "HEAD"))

    assert (head.status, head.body) == (200, b"")
    assert get.headers["Content-Type"] == head.headers["Content-Type"]
    if path not in ("/metrics", "/health"):
        assert get.headers["Content-Length"] == head.headers["Content-Length"]


@pytest.mark.parametrize("path", ["/nowhere", "/api/v1/items/no-such-item"])
def test_head_of_what_is_not_there_is_not_found(server: ServerProcess, path: str) -> None:
    head = exchange(server, request_bytes("HEAD", path))

    assert (head.status, head.body) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", GET_PATHS)
def test_a_method_that_is_not_taken_names_those_that_are(server: ServerProcess, path: str, method: str) -> None:
    answer = server.request(path, method=method)

    if method in WRITTEN.get(path, ()):
        problem_of(answer, 401, "not_signed_in")
    else:
        problem_of(answer, 405, "method_not_allowed")
        assert {"GET", "HEAD", *WRITTEN.get(path, ())} == set(answer.headers["Allow"].split(","))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", POST_PATHS)
def test_a_route_for_bodies_takes_post_only(server: ServerProcess, path: str, method: str) -> None:
    answer = server.request(path, method=method)

    problem_of(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/api/v1/users/1", "/api/v1/users/1/ratings/1"])
def test_what_can_only_be_deleted_takes_nothing_else(server: ServerProcess, path: str, method: str) -> None:
    answer = exchange(server, request_bytes(method, path))

    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nowhere",
            "/health/",
            "//health",
            "/HEALTH",
            "/api",
            "/api/v1",
            "/api/v1/",
            "/api/v2/items",
            "/api/v1/items/",
        ),
        *("/api/v1/users", "/api/v1/users/", "/api/v1/users/1/2", "/api/v1/users//ratings", "/api/v1/users/1/ratings/"),
        *("/api/v1/users/1/2/recommendations", "/docs/", "/static/", "/static/index.html"),
        *(
            "/static/../app.py",
            "/static/%2e%2e/app.py",
            "/static/..%2fapp.py",
            "/static//etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
        ),
        *("/index.html", "/openapi.yaml", "/.git/config"),
    ],
)
def test_an_address_without_a_route_is_not_found(server: ServerProcess, path: str) -> None:
    problem_of(exchange(server, request_bytes("GET", path)), 404, "not_found")


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready", "/metrics"])
def test_a_parameter_where_none_is_taken_is_named(server: ServerProcess, path: str) -> None:
    assert problem_of(server.request(f"{path}?verbose=1"), 400, "invalid_input") == ["query.verbose"]


def test_every_problem_of_a_request_is_explained(server: ServerProcess) -> None:
    page = server.request("/docs").body.decode()
    never_answered = {"invalid_settings", "invalid_data", "version_taken", "version_incomplete", "training_failed"}
    never_answered |= {"object_missing", "lost_race"}  # between the service and its bucket

    assert {code for code in _codes(RecsysError) - never_answered if f'id="problem-{code}"' not in page} == set()


def _codes(error: type[RecsysError]) -> set[str]:
    return {error.code}.union(*map(_codes, error.__subclasses__()))


def test_the_problem_type_leads_to_its_explanation(server: ServerProcess) -> None:
    page = server.request("/docs").body.decode()
    refused = [
        server.request("/nowhere"),
        server.request("/health", method="POST"),
        server.request("/api/v1/items?limit=0"),
        server.request("/api/v1/items/no-such-item"),
        server.request("/api/v1/recommendations", method="POST", body=b"{}", headers={"Content-Type": "text/plain"}),
    ]

    for answer in refused:
        path, _, anchor = answer.json["type"].partition("#")
        assert path == "/docs"
        assert f'id="{anchor}"' in page
