"""An answer that is written in one piece is, byte for byte, what the library would have sent."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from recsys.web.response import JsonResponse

_HEADERS = {"Content-Type": "application/json; charset=utf-8", "X-Model-Version": "v1.0.0"}

Exchange = Callable[[bytes], Awaitable[bytes]]


def _answers(kind: type[web.Response]) -> web.Application:
    app = web.Application()

    async def body(request: web.Request) -> web.Response:
        await request.read()
        return kind(body=b'{"a":"\xc3\xbc"}', headers=_HEADERS)

    async def large(_: web.Request) -> web.Response:
        return kind(body=b"x" * 300_000, headers=_HEADERS)

    async def empty(_: web.Request) -> web.Response:
        return kind(body=b"", headers=_HEADERS)

    async def nothing(_: web.Request) -> web.Response:
        return kind(status=204)

    async def created(_: web.Request) -> web.Response:
        return kind(body=b"{}", status=201, headers=_HEADERS | {"Location": "/ü"})

    async def not_modified(_: web.Request) -> web.Response:
        return kind(body=b"{}", status=304)

    async def last(_: web.Request) -> web.Response:
        response = kind(body=b"{}", headers=_HEADERS)
        response.force_close()
        return response

    async def with_a_cookie(_: web.Request) -> web.Response:
        response = kind(body=b"{}", headers=_HEADERS)
        response.set_cookie("session", "1")
        return response

    async def squeezed(_: web.Request) -> web.Response:
        response = kind(body=b"{}" * 100, headers=_HEADERS)
        response.enable_compression()
        return response

    async def begun(request: web.Request) -> web.Response:
        response = kind(body=b"{}", headers=_HEADERS)
        await response.prepare(request)
        return response

    for handler in (body, large, empty, nothing, created, not_modified, last, with_a_cookie, squeezed, begun):
        app.router.add_route("*", f"/{handler.__name__}", handler)
    return app


@pytest.fixture(name="exchange_with")
async def _exchange_with() -> AsyncIterator[Callable[[type[web.Response]], Awaitable[Exchange]]]:
    """Start a server whose answers are of a class, and send it bytes; what it sends until it closes comes back."""
    runners = []

    async def start(kind: type[web.Response]) -> Exchange:
        runner = web.AppRunner(_answers(kind), access_log=None)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]

        async def exchange(sent: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            received = await reader.read()
            writer.close()
            return re.sub(rb"\r\nDate: [A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT", b"\r\nDate: *", received)

        return exchange

    yield start
    for runner in runners:
        await runner.cleanup()


_LAST = b"GET /empty HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    "name",
    ["body", "large", "empty", "nothing", "created", "not_modified", "last", "with_a_cookie", "squeezed", "begun"],
)
@pytest.mark.parametrize(
    "request_of",
    [
        b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /%b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"HEAD /%b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
        b"GET /%b HTTP/1.0\r\n\r\n",
        b"GET /%b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
    ids=lambda sent: sent.decode().replace("\r\n", " "),
)
async def test_the_bytes_are_those_of_the_library(
    exchange_with: Callable[[type[web.Response]], Awaitable[Exchange]], name: str, request_of: bytes
) -> None:
    ours, theirs = await exchange_with(JsonResponse), await exchange_with(web.Response)
    sent = request_of % name.encode() + request_of % b"body" + _LAST  # the second finds what the first has left

    received = await ours(sent)

    assert received == await theirs(sent)
    assert received.startswith(b"HTTP/1.")


async def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise AssertionError("the library's way")

    monkeypatch.setattr(web.Response, "prepare", refuse)
    response = JsonResponse(body=b"{}")
    written: list[bytes] = []

    class Writer:
        async def write_eof(self, data: bytes) -> None:
            written.append(data)

    class Request:
        method, version, keep_alive, writer = "GET", (1, 1), True, Writer()

    assert not response.prepared
    await response.prepare(Request())  # type: ignore[arg-type]

    assert response.prepared
    assert response.keep_alive
    assert b"".join(written).endswith(b"\r\n\r\n{}")
