"""The pages that come with the package: the front page, the API's page and what they need. No outside address.

Read once at start and answered from memory; names are a fixed table, never a path from a request.
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

import orjson
from aiohttp import web

_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def pages(openapi: dict[str, object]) -> dict[str, Handler]:
    """Give the handler of each page, and of the OpenAPI document, by its address."""
    document = orjson.dumps(openapi, option=orjson.OPT_INDENT_2)
    root = files("recsys.web") / "static"
    contents = {name: (root / name).read_bytes() for name in _TYPES}

    def page(name: str) -> Handler:
        async def serve(request: web.Request) -> web.Response:
            return web.Response(body=contents[name], headers={"Content-Type": _TYPES[name], **_HEADERS})

        return serve

    async def serve_openapi(request: web.Request) -> web.Response:
        return web.Response(body=document, headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})

    return {
        "/": page("index.html"),
        "/docs": page("docs.html"),
        "/favicon.ico": page("icon.svg"),
        "/openapi.json": serve_openapi,
        **{f"/static/{name}": page(name) for name in ("docs.js", "style.css", "icon.svg")},
    }
