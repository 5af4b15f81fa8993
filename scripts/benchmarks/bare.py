"""The yardstick: aiohttp on uvloop with the service's own limits and no middleware, answering each address with
constant bytes of the length that the service's answer has.

Run as `python -m benchmarks.bare PORT ROUTES`, ROUTES being a JSON list of [method, path, length].
"""

import asyncio
import json
import sys

import uvloop
from aiohttp import web
from aiohttp.typedefs import Handler

_MAX_LINE_BYTES = 32 * 1024


def constant(n_bytes: int, *, reads_body: bool) -> Handler:
    body = b'"' + b"x" * (n_bytes - 2) + b'"'

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    async def answer_to_body(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    return answer_to_body if reads_body else answer


async def serve(port: int, routes: list[tuple[str, str, int]]) -> None:
    app = web.Application()
    for method, path, n_bytes in routes:
        app.router.add_route(method, path, constant(n_bytes, reads_body=method == "POST"))
    app.router.add_get("/ready", constant(2, reads_body=False))
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=75,
        max_line_size=_MAX_LINE_BYTES,
        max_field_size=_MAX_LINE_BYTES,
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), json.loads(sys.argv[2])))
