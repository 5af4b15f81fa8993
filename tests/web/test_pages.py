"""The front page, the API's page and what they load: no outside address, and nothing that a browser should not run."""

import asyncio
import re
import threading
from html.parser import HTMLParser

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from service import ServerProcess

from recsys.web.pages import pages

pytest_plugins = ["http_server"]
PAGES = {"/": "text/html", "/admin": "text/html", "/docs": "text/html"}
PARTS = {
    "/static/docs.js": "text/javascript",
    "/static/viewer.js": "text/javascript",
    "/static/admin.js": "text/javascript",
    "/static/dom.js": "text/javascript",
    "/static/style.css": "text/css",
    "/static/viewer.css": "text/css",
    "/static/icon.svg": "image/svg+xml",
    "/favicon.ico": "image/svg+xml",
}
#: Names of XML vocabularies look like addresses and are none: nothing is fetched from them.
VOCABULARIES = {"http://www.w3.org/2000/svg"}


class Page(HTMLParser):
    """Collects what a page links to, loads and runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.inline: list[str] = []
        self.lang = ""
        self.title = ""
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within = tag
        self.links += [value for name in ("href", "src", "action") if (value := given.get(name)) is not None]
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        self.inline += [tag] if tag == "style" or (tag == "script" and "src" not in given) else []
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.lang = (given.get("lang") or "") if tag == "html" else self.lang

    def handle_data(self, data: str) -> None:
        if self._within == "title":
            self.title += data

    def handle_endtag(self, tag: str) -> None:
        self._within = ""


@pytest.mark.parametrize(("path", "content_type"), [*PAGES.items(), *PARTS.items()])
def test_is_served_as_what_it_is(server: ServerProcess, path: str, content_type: str) -> None:
    answer = server.request(path)

    assert answer.status == 200
    assert answer.body
    assert content_type == answer.headers["Content-Type"].split(";")[0]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", [*PAGES, *PARTS])
def test_its_policy_allows_only_its_own_parts(server: ServerProcess, path: str) -> None:
    header = server.request(path).headers["Content-Security-Policy"]
    policy = {name: set(sources) for name, *sources in (part.split() for part in header.split(";"))}

    assert {"'none'"} == policy["default-src"]
    assert {"'none'"} == policy["frame-ancestors"] == policy["base-uri"]
    for name, sources in policy.items():
        assert sources <= {"'none'", "'self'", "data:"}, name
    assert {"'self'"} == policy["script-src"] == policy["connect-src"] == policy["style-src"]


@pytest.mark.parametrize("path", [*PAGES, *PARTS, "/openapi.json"])
def test_names_no_outside_address(server: ServerProcess, path: str) -> None:
    text = server.request(path).body.decode()

    assert set() == set(re.findall(r"""(?:https?:)?//[\w-]+(?:\.[\w-]+)+[^\s"'<>`)]*""", text)) - VOCABULARIES
    assert re.findall(r"@import|\bcdn\b|fonts\.", text) == []


@pytest.mark.parametrize("path", PAGES)
def test_runs_nothing_inline(server: ServerProcess, path: str) -> None:
    """The policy would block it, and the page would be broken without an error that tests see."""
    assert Page(server.request(path).body.decode()).inline == []


@pytest.mark.parametrize("path", PAGES)
def test_has_a_language_and_a_title(server: ServerProcess, path: str) -> None:
    page = Page(server.request(path).body.decode())

    assert page.lang == "en"
    assert page.title.strip()


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(server: ServerProcess, path: str) -> None:
    links = Page(server.request(path).body.decode()).links

    assert links
    for link in links:
        assert link.startswith(("/", "#"))
        assert link.startswith("#") or server.request(link.partition("#")[0]).status == 200, link


def test_the_front_page_leads_to_the_documents(server: ServerProcess) -> None:
    assert {"/docs", "/openapi.json", "/health"} <= set(Page(server.request("/").body.decode()).links)


def test_the_example_bodies_of_the_api_page_are_taken(server: ServerProcess) -> None:
    script = server.request("/static/docs.js").body.decode()
    document = server.request("/openapi.json").json
    with_body = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    ]

    assert with_body
    for name in with_body:
        assert re.search(rf'^  {name}: [{{"]', script, re.MULTILINE), f"no example for {name}"


async def test_the_document_of_the_api_is_made_once_in_a_thread() -> None:
    made_in = []

    def make() -> dict[str, object]:
        made_in.append(threading.current_thread())
        return {"openapi": "3.1.0"}

    handler = pages(make)["/openapi.json"]
    assert made_in == []
    request = make_mocked_request("GET", "/openapi.json")
    answers: list[web.StreamResponse] = await asyncio.gather(*[handler(request) for _ in range(5)])

    assert len(made_in) == 1
    assert made_in[0] is not threading.main_thread()
    assert len({answer.headers["ETag"] for answer in answers}) == 1
