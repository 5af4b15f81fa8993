"""Calls from browsers: refused by silence unless the setting lists the origin."""

import pytest
from http_exchange import problem_of
from service import Answer, ServerProcess

pytest_plugins = ["http_server"]
ORIGIN = "https://films.example"
PATH = "/api/v1/recommendations"


def cors_headers(answer: Answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.lower().startswith("access-control-")}


def preflight(server: ServerProcess, origin: str, method: str = "POST") -> Answer:
    return server.request(
        PATH,
        method="OPTIONS",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "content-type",
        },
    )


class TestOff:
    def test_no_answer_allows_anybody(self, server: ServerProcess) -> None:
        assert cors_headers(server.request("/health/live", headers={"Origin": ORIGIN})) == {}

    def test_a_preflight_is_a_method_like_any_other(self, server: ServerProcess) -> None:
        answer = preflight(server, ORIGIN)

        problem_of(answer, 405)
        assert cors_headers(answer) == {}


class TestListedOrigin:
    def test_may_read_answers(self, cors_server: ServerProcess) -> None:
        answer = cors_server.request("/health/live", headers={"Origin": ORIGIN})

        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert {"X-Request-ID", "X-Model-Version"} <= set(
            answer.headers["Access-Control-Expose-Headers"].replace(" ", "").split(",")
        )

    @pytest.mark.parametrize("path", ["/nowhere", "/api/v1/users/1/recommendations?n=0", "/api/v1/items/none"])
    def test_may_read_why_it_was_refused(self, cors_server: ServerProcess, path: str) -> None:
        assert cors_server.request(path, headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN

    def test_may_read_a_long_batch(self, cors_server: ServerProcess) -> None:
        answer = cors_server.request(
            "/api/v1/recommendations/batch",
            method="POST",
            body={"user_ids": [str(number) for number in range(60)], "n": 1},
            headers={"Origin": ORIGIN},
        )

        assert answer.status == 200
        assert answer.headers.get("Access-Control-Allow-Origin") == ORIGIN

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_may_send_json_and_take_back(self, cors_server: ServerProcess, method: str) -> None:
        answer = preflight(cors_server, ORIGIN, method)

        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
        assert "content-type" in answer.headers["Access-Control-Allow-Headers"].lower()

    def test_sends_no_credentials(self, cors_server: ServerProcess) -> None:
        assert "Access-Control-Allow-Credentials" not in preflight(cors_server, ORIGIN).headers

    def test_is_told_apart_by_caches(self, cors_server: ServerProcess) -> None:
        """Without Vary a shared cache could give one origin's answer to another."""
        for headers in ({"Origin": ORIGIN}, {}):
            assert "Origin" in cors_server.request("/health/live", headers=headers).headers["Vary"]


class TestOtherOrigins:
    @pytest.mark.parametrize(
        "origin",
        [
            "https://evil.example",
            "http://films.example",
            "https://films.example:8443",
            "https://films.example.evil",
            "null",
        ],
    )
    def test_may_read_nothing(self, cors_server: ServerProcess, origin: str) -> None:
        assert cors_headers(cors_server.request("/health/live", headers={"Origin": origin})) == {}

    def test_may_send_nothing(self, cors_server: ServerProcess) -> None:
        answer = preflight(cors_server, "https://evil.example")

        assert answer.status == 403
        assert cors_headers(answer) == {}

    def test_are_refused_by_a_problem_like_everybody(self, cors_server: ServerProcess) -> None:
        problem_of(preflight(cors_server, "https://evil.example"), 403)


class TestStar:
    def test_lets_everybody_read(self, open_server: ServerProcess) -> None:
        answer = open_server.request("/health/live", headers={"Origin": "https://any.example"})

        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers

    def test_lets_everybody_send(self, open_server: ServerProcess) -> None:
        answer = preflight(open_server, "https://any.example")

        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, "*")


def test_a_request_without_an_origin_is_answered_as_ever(cors_server: ServerProcess) -> None:
    answer = cors_server.request("/health/live")

    assert answer.status == 200
    assert cors_headers(answer) == {}
