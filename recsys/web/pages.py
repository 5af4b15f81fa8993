"""The pages that come with the package: the viewer's, the operator's, the API's, and what they need.

No outside address. Read, given hashed names and compressed once at start (the OpenAPI document when it is first asked
for), then answered from memory; names are a fixed table, never a path from a request.
"""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import quote, urlsplit

import orjson
from aiohttp import hdrs, web

from recsys.serving.slot import Slot
from recsys.web.inputs import id_from_path
from recsys.web.problems import HttpError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
}
_PAGES = {"/": "index.html", "/admin": "admin.html", "/docs": "docs.html"}
_REFERENCE = re.compile(r"/static/([a-z]+\.(?:js|css|svg))")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{posters}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
#: A name with a hash never means anything else.
_FOR_EVER = "public, max-age=31536000, immutable"
_LOOK_AGAIN = "no-cache"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Part:
    """Something to send: as it is and compressed, and by which tag a browser knows that it has it already."""

    content: bytes
    content_type: str
    compressed: bytes
    tag: str

    @classmethod
    def of(cls, content: bytes, content_type: str) -> "Part":
        return cls(content, content_type, gzip.compress(content, 9, mtime=0), _hash(content))


def pages(openapi: Callable[[], dict[str, object]], *, poster_template: str | None = None) -> dict[str, Handler]:
    """Give the handler of each page, of its parts, and of the OpenAPI document, by its address. `openapi` makes the
    document when it is first asked for, in a thread.

    With a template for posters, images of its host are allowed; nothing else ever is.
    """
    origin = ""
    if poster_template is not None:
        address = urlsplit(poster_template)
        origin = f" {address.scheme}://{address.netloc}"
    policy = _POLICY.format(posters=origin)
    static = _Static("on" if poster_template else "off")
    handlers = {path: _sending(static.part(name), _LOOK_AGAIN, policy) for path, name in _PAGES.items()}
    # also without a hash: a bookmark, a test, a reader
    for name in static.names:
        handlers[f"/static/{name}"] = _sending(static.part(name), _LOOK_AGAIN, policy)
        handlers[static.address(name)] = _sending(static.part(name), _FOR_EVER, policy)
    handlers["/favicon.ico"] = handlers["/static/icon.svg"]

    def document() -> Handler:
        content = orjson.dumps(openapi(), option=orjson.OPT_INDENT_2)
        return _sending(Part.of(content, "application/json"), _LOOK_AGAIN, policy)

    return handlers | {"/openapi.json": _made_once(document)}


def posters(slot: Slot, template: str | None) -> dict[str, Handler]:
    """Give the handler that sends a browser to a film's poster: lists need not carry the ids for it."""
    if template is None:
        return {}
    needs_imdb, needs_tmdb = "{imdb_id}" in template, "{tmdb_id}" in template

    async def poster(request: web.Request) -> web.Response:
        model = slot.take()
        item = model.item_index.get(id_from_path(request, "item_id"))
        catalogue = model.servable.contents.catalogue
        imdb, tmdb = (catalogue.imdb_ids[item], catalogue.tmdb_ids[item]) if item is not None else (None, None)
        if (needs_imdb and not imdb) or (needs_tmdb and not tmdb):
            raise HttpError(404, "there is no poster of this film")
        # an operator may have registered any id: it stays within its place in the address
        place = {"{imdb_id}": quote(imdb or "", safe=""), "{tmdb_id}": quote(tmdb or "", safe="")}
        address = re.sub(r"\{(?:imdb|tmdb)_id\}", lambda found: place[found[0]], template)
        return web.Response(status=302, headers={"Location": address, "Cache-Control": "max-age=86400"})

    return {"/posters/{item_id}": poster}


class _Static:
    """The files of `static/`, each of which names the others by their hashes. They must not name each other in a
    circle.
    """

    def __init__(self, posters: str) -> None:
        self._texts = {
            file.name: file.read_text(encoding="utf-8").replace("{{posters}}", posters)
            for file in (files("recsys.web") / "static").iterdir()
            if file.name.rpartition(".")[2] in _TYPES
        }
        self._parts: dict[str, Part] = {}

    @property
    def names(self) -> list[str]:
        return sorted(name for name in self._texts if not name.endswith(".html"))

    def part(self, name: str) -> Part:
        if name not in self._parts:
            text = _REFERENCE.sub(lambda found: self.address(found[1]), self._texts[name])
            self._parts[name] = Part.of(text.encode(), _TYPES[name.rpartition(".")[2]])
        return self._parts[name]

    def address(self, name: str) -> str:
        stem, _, kind = name.rpartition(".")
        return f"/static/{stem}.{self.part(name).tag}.{kind}"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _sending(part: Part, caching: str, policy: str) -> Handler:
    common = {
        "Cache-Control": caching,
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    plain = common | {"ETag": f'"{part.tag}"'}
    packed = common | {"ETag": f'"{part.tag}-gzip"', "Content-Encoding": "gzip"}

    async def send(request: web.Request) -> web.Response:
        pack = takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        headers = packed if pack else plain
        if headers["ETag"] in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(
                status=304, headers={name: headers[name] for name in headers if name != "Content-Encoding"}
            )
        body = part.compressed if pack else part.content
        return web.Response(body=body, headers={"Content-Type": part.content_type, **headers})

    return send


def _made_once(make: Callable[[], Handler]) -> Handler:
    """A handler that the first request has made, in a thread, and those beside it wait for."""
    turn = asyncio.Lock()
    made: list[Handler] = []

    async def send(request: web.Request) -> web.StreamResponse:
        async with turn:
            if not made:
                made.append(await asyncio.to_thread(make))
        return await made[0](request)

    return send


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding lets gzip through: named, or by `*`, and not with a weight of zero."""
    weights = {}
    for one in accepted.lower().split(","):
        name, _, rest = one.partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", rest)
    return weights.get("gzip", weights.get("*", False))
