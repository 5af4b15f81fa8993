"""How the pages are sent: small, once, under names with hashes, and able to run nothing but their own scripts."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from service import Answer, ServerProcess

pytest_plugins = ["http_server"]
PAGES = ("/", "/admin", "/docs")
BUDGET_BYTES = 100 * 1024
#: What the viewer's page asks for before it is whole.
ASKED = (
    "/api/v1/genres", "/api/v1/users/viewer-abc/ratings", "/api/v1/users/viewer-abc/recommendations?n=18&explain=true",
    "/api/v1/items/popular?n=20", "/api/v1/items/trending?n=20",
)  # fmt: skip


def packed(server: ServerProcess, path: str, **headers: str) -> Answer:
    return server.request(path, headers={"Accept-Encoding": "gzip", **headers})


def parts(server: ServerProcess, page: str) -> set[str]:
    """Everything that a page loads, and what that loads."""
    found: set[str] = set()
    waiting = [page]
    while waiting:
        text = gzip.decompress(packed(server, waiting.pop()).body).decode()
        new = set(re.findall(r'(?:href|src|from)\s*=?\s*"(/static/[^"]+)"', text)) - found
        found |= new
        waiting += sorted(new)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_parts_bear_their_hash_and_are_kept_for_a_year(server: ServerProcess, page: str) -> None:
    names = parts(server, page)

    assert len(names) >= 3
    for name in names:
        assert re.fullmatch(r"/static/[a-z]+\.[0-9a-f]{16}\.(js|css|svg)", name)
        assert server.request(name).headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_asked_for_again_and_not_sent_again(server: ServerProcess, page: str) -> None:
    first = packed(server, page)
    assert first.headers["Cache-Control"] == "no-cache"

    again = packed(server, page, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Security-Policy" in again.headers


@pytest.mark.parametrize("path", [*PAGES, "/static/viewer.js", "/static/viewer.css", "/openapi.json"])
def test_what_is_sent_compressed_is_the_same(server: ServerProcess, path: str) -> None:
    plain, compressed = server.request(path), packed(server, path)

    assert "Content-Encoding" not in plain.headers
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert plain.body == gzip.decompress(compressed.body)
    assert len(compressed.body) < len(plain.body)
    assert compressed.headers["ETag"] != plain.headers["ETag"]
    assert "Accept-Encoding" in compressed.headers["Vary"]


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("gzip", True),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("GZIP", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0, *", False),
        ("*;q=0", False),
        ("identity", False),
    ],
)
def test_only_who_takes_gzip_gets_it(server: ServerProcess, accepted: str, expected: bool) -> None:
    answer = server.request("/", headers={"Accept-Encoding": accepted})
    assert expected == ("Content-Encoding" in answer.headers)


def test_the_first_page_fits_its_budget_with_everything_it_asks_for(ml_100k_server: ServerProcess) -> None:
    loaded = ["/", *sorted(parts(ml_100k_server, "/"))]
    assert sum(len(packed(ml_100k_server, path).body) for path in (*loaded, *ASKED)) <= BUDGET_BYTES


def test_a_head_is_like_the_page_without_it(server: ServerProcess) -> None:
    head = server.request("/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert len(server.request("/").body) == int(head.headers["Content-Length"])


def test_names_without_a_hash_and_with_a_wrong_one(server: ServerProcess) -> None:
    assert server.request("/static/viewer.js").headers["Cache-Control"] == "no-cache"
    assert server.request("/static/viewer.0123456789abcdef.js").status == 404
    assert server.request("/static/../app.py").status == 404
    assert server.request("/static/%2e%2e/app.py").status == 404


def test_forms_and_frames_are_forbidden(server: ServerProcess) -> None:
    for page in PAGES:
        policy = server.request(page).headers["Content-Security-Policy"]
        for directive in ("default-src 'none'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
            assert directive in policy
        assert "unsafe" not in policy


class TestPosters:
    TEMPLATE = "https://posters.example/{imdb_id}/w300.jpg"

    def test_are_drawn_unless_a_template_says_where_they_are(self, server: ServerProcess) -> None:
        assert 'data-posters="off"' in server.request("/").body.decode()
        assert server.request("/posters/1").status == 404

    def test_of_a_template_are_allowed_from_its_host_alone(
        self, serve: Callable[..., ServerProcess], store_with: Callable[..., object]
    ) -> None:
        store_with("v1.0.0")
        server = serve(environ={"RECSYS_PAGES__POSTER_TEMPLATE": self.TEMPLATE, "RECSYS_ADMIN__TOKEN": "x" * 20})

        page = server.request("/")
        assert "img-src 'self' data: https://posters.example;" in page.headers["Content-Security-Policy"]
        assert 'data-posters="on"' in page.body.decode()
        registered = {"title": "Registered", "imdb_id": "tt0133093"}
        admin = {"Authorization": f"Bearer {'x' * 20}"}
        assert server.request("/api/v1/items/new", method="PUT", body=registered, headers=admin).status == 201
        assert redirect(server, "/posters/new") == "https://posters.example/tt0133093/w300.jpg"
        assert redirect(server, "/posters/1") is None
        assert redirect(server, "/posters/unknown") is None

    @pytest.mark.parametrize(
        "template",
        [
            "https://x.example/fixed.jpg",
            "javascript:{imdb_id}",
            "https://{imdb_id}/a",
            "/a/{imdb_id}",
            "https://x.example; script-src *//{imdb_id}",
            "https://*/{imdb_id}",
        ],
    )
    def test_of_a_template_that_is_none_stop_the_start(self, template: str, tmp_path: Path) -> None:
        from recsys.errors import SettingsError
        from recsys.settings import load_settings

        environ = {"RECSYS_PAGES__POSTER_TEMPLATE": template, "RECSYS_CONFIG_DIR": str(tmp_path)}
        with pytest.raises(SettingsError, match="RECSYS_PAGES__POSTER_TEMPLATE"):
            load_settings(environ)


def redirect(server: ServerProcess, path: str) -> str | None:
    """Where an address sends one on to, without going there."""
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    connection = HTTPConnection(urlsplit(server.address).netloc, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status in (302, 404)
    return answer.headers["Location"]


class TestWhatThePageNeeds:
    def test_the_scale_and_the_years_of_the_data(self, server: ServerProcess) -> None:
        found = server.request("/api/v1/genres").json
        assert {"low", "high", "step"} == set(found["scale"])
        assert found["years"][0] <= found["years"][1]

    def test_the_titles_of_some_items_in_the_order_asked(self, server: ServerProcess) -> None:
        def asked(*item_ids: str, more: str = "") -> list[str]:
            query = "&".join(f"item_id={item_id}" for item_id in item_ids)
            return [film["item_id"] for film in server.request(f"/api/v1/items?{query}{more}").json["items"]]

        assert asked("7", "3", "nobody", "5", "3") == ["7", "3", "5"]
        assert asked("nobody") == []
        title = server.request("/api/v1/items/3").json["title"]
        assert asked("7", "3", more=f"&query={quote(title)}") == ["3"]

    @pytest.mark.parametrize("path", ["/api/v1/items?limit=50", "/api/v1/items/popular?n=50"])
    def test_years_as_a_filter_of_every_row(self, server: ServerProcess, path: str) -> None:
        films = server.request(f"{path}&year_from=1980&year_to=1989").json["items"]
        assert films
        assert {film["year"] // 10 for film in films} == {198}
        assert server.request(f"{path}&year_from=1990&year_to=1980").status == 400
