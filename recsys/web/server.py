"""The process's life: open the port, wait for a signal, stop in order. Owns sockets and signals."""

import asyncio
import os
import signal
import sys
from typing import Any

import structlog
from aiohttp import web

from recsys.errors import SettingsError
from recsys.serving.collector import collect_by_the_clock
from recsys.settings import ServerSettings, Settings
from recsys.web.app import ARRIVALS, EVENTS, HEALTH, TELEMETRY, build_app
from recsys.web.arrivals import Arrivals
from recsys.web.headers import REQUEST_ID
from recsys.web.problems import HttpError, render

_MAX_LINE_BYTES = 32 * 1024
#: A thread that holds the GIL gives it to the event loop after this long; Python's own 5 ms would be felt at p99.
_SWITCH_INTERVAL_S = 0.0005
_LOOK_AGAIN_S = 0.02
_log = structlog.get_logger(__name__)


class _Connection(web.RequestHandler):
    """One connection. What is no HTTP never reaches the app; it is refused in the app's own form all the same."""

    def __init__(self, arrivals: Arrivals, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._arrivals = arrivals

    def data_received(self, data: bytes) -> None:
        self._arrivals.came(self, data)
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._arrivals.gone(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        request_id = os.urandom(8).hex()
        if status < 500:
            _log.debug("not a request", remote=request.remote, request_id=request_id, reason=str(exc))
        else:
            _log.error("request failed below the app", request_id=request_id, exc_info=exc)
        lines = (message or "").strip().splitlines()
        response = render(HttpError(status, lines[0] if lines else "the request is not HTTP"), request_id)
        response.headers[REQUEST_ID] = request_id
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A body that cannot be unpacked is its sender's fault, who was answered: aiohttp reads on what is left of it,
        and would log that it cannot.
        """
        if not isinstance(kw.get("exc_info"), web.RequestPayloadError):
            super().log_exception(*args, **kw)


async def serve(settings: Settings) -> None:
    """Run the service until SIGTERM or SIGINT: open the port at once, load or train behind it, and at the end stop in
    order: not ready → no new connections → answer what is in flight → end training → return.

    Errors: SettingsError when the address cannot be listened on.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    app = build_app(settings)
    collector = asyncio.create_task(collect_by_the_clock(), name="collector")
    server = settings.server
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=server.shutdown_s / 4)  # aiohttp waits for it twice
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await runner.setup()
        listener = await _listen(runner, server, app[ARRIVALS])
        await stop.wait()
        _log.info("stopping")
        app[HEALTH].stopping = True
        listener.close()
        app[EVENTS].close()
        # aiohttp drops what is still to come of a body once it closes: so wait for those in flight before that
        deadline = loop.time() + server.shutdown_s / 2
        while app[TELEMETRY].in_flight and loop.time() < deadline:  # noqa: ASYNC110  only a count is kept
            await asyncio.sleep(_LOOK_AGAIN_S)
    finally:
        await runner.cleanup()
        collector.cancel()
    _log.info("stopped")


async def _listen(runner: web.AppRunner, server: ServerSettings, arrivals: Arrivals) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    manager: Any = runner.server

    def connect() -> _Connection:
        return _Connection(
            arrivals,
            manager,
            loop=loop,
            access_log=None,  # how aiohttp's own runner switches it off
            keepalive_timeout=server.keepalive_s,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )

    try:
        listener = await loop.create_server(connect, server.host, server.port, backlog=server.max_connections)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {server.host}:{server.port}: {error.strerror or error}",
            hint="RECSYS_SERVER__PORT or --port chooses another; 0 takes a free one",
        ) from error
    host = f"[{server.host}]" if ":" in server.host else server.host
    _log.info("listening", address=f"http://{host}:{listener.sockets[0].getsockname()[1]}")
    return listener
