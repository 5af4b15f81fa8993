"""The operator's session in a browser: begun with the token, kept by a cookie, of no use to other pages."""

import re
from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from service import Answer, ServerProcess

from recsys.web import sessions
from recsys.web.sessions import COOKIE, Sessions

Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"
OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
    store_with("v1.0.0", "v1.0.1")
    return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})


def sign_in(server: ServerProcess, token: str = TOKEN, **headers: str) -> Answer:
    return server.request("/admin/session", method="POST", headers={"Authorization": f"Bearer {token}", **headers})


def cookie_of(answer: Answer) -> SimpleCookie:
    return SimpleCookie(answer.headers["Set-Cookie"])


def signed_in(server: ServerProcess) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={cookie_of(sign_in(server))[COOKIE].value}"}


class TestCookie:
    def test_is_for_this_service_and_no_script(self, server: ServerProcess) -> None:
        answer = sign_in(server)
        cookie = cookie_of(answer)[COOKIE]

        assert (answer.status, answer.json) == (200, {"signed_in": True})
        assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (True, "Strict", "/", "")
        assert 0 < int(cookie["max-age"]) <= 24 * 3600
        assert cookie["domain"] == ""
        assert len(cookie.value) >= 40
        assert TOKEN not in cookie.value

    def test_is_secure_where_the_browser_came_by_https(self, server: ServerProcess) -> None:
        assert cookie_of(sign_in(server, **{"X-Forwarded-Proto": "https"}))[COOKIE]["secure"] is True

    def test_is_another_each_time(self, server: ServerProcess) -> None:
        assert len({cookie_of(sign_in(server))[COOKIE].value for _ in range(3)}) == 3

    def test_is_in_no_log(self, server: ServerProcess) -> None:
        value = signed_in(server)["Cookie"].partition("=")[2]
        server.stop()
        assert [line for line in server.log if value in line] == []


class TestSession:
    def test_does_what_the_token_does(self, server: ServerProcess) -> None:
        session = signed_in(server)

        assert server.request("/admin/models", headers=session).status == 200
        assert server.request("/admin/overview", headers=session).status == 200
        pinned = server.request("/admin/pin", method="PUT", body={"version": "v1.0.0"}, headers=session | OURS)
        assert (pinned.status, pinned.json["served"]) == (200, "v1.0.0")
        film = {"title": "Registered by a session"}
        assert server.request("/api/v1/items/new", method="PUT", body=film, headers=session | OURS).status == 201

    def test_ends_when_it_is_ended(self, server: ServerProcess) -> None:
        session = signed_in(server)
        ended = server.request("/admin/session", method="DELETE", headers=session | OURS)

        assert (ended.status, ended.json) == (200, {"signed_in": False})
        assert cookie_of(ended)[COOKIE].value == ""
        assert server.request("/admin/models", headers=session).status == 401

    def test_ends_with_the_service(self, serve: Serve, server: ServerProcess) -> None:
        session = signed_in(server)
        server.stop()
        assert serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN}).request("/admin/models", headers=session).status == 401

    def test_that_was_never_begun_is_none(self, server: ServerProcess) -> None:
        for value in ("", "x", "0" * 43, '"', "\xff", "a" * 4000):
            assert server.request("/admin/models", headers={"Cookie": f"{COOKIE}={value}"}).status == 401, value

    def test_is_not_begun_with_a_wrong_token_and_guesses_are_counted(self, server: ServerProcess) -> None:
        refused = sign_in(server, "wrong")
        assert (refused.status, refused.json["code"]) == (403, "wrong_token")
        assert "Set-Cookie" not in refused.headers
        for number in range(9):
            sign_in(server, f"wrong {number}")
        assert sign_in(server).status == 429

    def test_does_not_cover_a_wrong_token(self, server: ServerProcess) -> None:
        session = signed_in(server)
        assert server.request("/admin/models", headers=session | {"Authorization": "Bearer wrong"}).status == 403

    def test_goes_on_while_somebody_else_guesses(self, server: ServerProcess) -> None:
        session = signed_in(server)
        for number in range(11):
            sign_in(server, f"wrong {number}")
        assert server.request("/admin/models", headers=session).status == 200


class TestOtherPages:
    def test_change_nothing_with_a_session(self, server: ServerProcess) -> None:
        """Another port of the same machine is the same site: its pages' requests carry the cookie."""
        session = signed_in(server)
        for said in (
            {},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Fetch-Site": "none"},
            {"Sec-Fetch-Site": "cross-site", "Origin": server.address},
            {"Origin": "https://evil.example"},
            {"Origin": "http://127.0.0.1:1"},
            {"Origin": "null"},
            {"Origin": "http://[broken"},
        ):
            for method, path in (("POST", "/admin/retrain"), ("POST", "/admin/rollback"), ("DELETE", "/admin/session")):
                refused = server.request(path, method=method, headers=session | said)
                assert (refused.status, refused.json["code"]) == (403, "cross_origin"), (said, path)
        assert server.request("/health").json["model_version"] == "v1.0.1"
        assert server.request("/admin/models", headers=session).status == 200

    def test_of_ours_may_where_a_browser_says_only_the_origin(self, server: ServerProcess) -> None:
        session = signed_in(server) | {"Origin": server.address}
        assert server.request("/admin/rollback", method="POST", headers=session).json["served"] == "v1.0.0"

    def test_need_no_such_word_with_the_token(self, server: ServerProcess) -> None:
        token = {"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}
        assert server.request("/admin/rollback", method="POST", headers=token).status == 200


class TestKept:
    def test_sessions_end_by_themselves(self) -> None:
        now = [0.0]
        kept = Sessions(clock=lambda: now[0])
        request, response = Fake("GET"), Fake("GET")
        lifetime = kept.begin(request, response)  # type: ignore[arg-type]
        request.cookies[COOKIE] = response.value

        now[0] = lifetime - 1
        assert kept.holds(request)  # type: ignore[arg-type]
        now[0] = lifetime
        assert not kept.holds(request)  # type: ignore[arg-type]

    def test_only_so_many_are_kept_the_oldest_goes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sessions, "_MAX_SESSIONS", 2)
        kept, held = Sessions(), []
        for _ in range(3):
            request, response = Fake("GET"), Fake("GET")
            kept.begin(request, response)  # type: ignore[arg-type]
            request.cookies[COOKIE] = response.value
            held.append(request)
        assert [kept.holds(request) for request in held] == [False, True, True]  # type: ignore[arg-type]


class Fake:
    """As much of a request and a response as sessions look at."""

    scheme = "http"

    def __init__(self, method: str) -> None:
        self.method = method
        self.headers: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.value = ""

    def set_cookie(self, name: str, value: str, **_: object) -> None:
        self.value = value


class TestOverview:
    def test_says_everything_the_page_shows(self, server: ServerProcess) -> None:
        session = signed_in(server)
        for number in range(5):
            server.request(f"/api/v1/users/{number}/recommendations")
        server.request(
            "/api/v1/ratings", method="POST", body={"ratings": [{"user_id": "a", "item_id": "1", "rating": 4}]}
        )
        server.request("/admin/rollback", method="POST", headers=session | OURS)
        seen = server.request("/admin/overview", headers=session).json

        assert (seen["models"]["served"], seen["models"]["pinned"]) == ("v1.0.0", "v1.0.0")
        assert [one["version"] for one in seen["measured"]] == ["v1.0.0", "v1.0.1"]
        assert {"value", "low", "high"} <= set(seen["measured"][0]["metrics"][seen["measured"][0]["headline"]])
        assert seen["measured"][0]["checks"]
        assert [one["action"] for one in seen["actions"]] == ["rollback", "sign in"]
        assert seen["traffic"]["requests"] >= 6
        assert 0 < seen["traffic"]["p50_ms"] <= seen["traffic"]["p99_ms"]
        assert len(seen["ratings_per_hour"]) == 24
        assert sum(one["ratings"] for one in seen["ratings_per_hour"]) == 1
        assert 10 < seen["memory_mb"] < 2000
        assert TOKEN not in str(seen)

    def test_the_page_itself_asks_for_nothing_and_holds_nothing(self, server: ServerProcess) -> None:
        page = server.request("/admin")
        assert page.status == 200
        assert "sign-in-form" in page.body.decode()
        assert not re.search(r"v\d+\.\d+\.\d+", page.body.decode())
