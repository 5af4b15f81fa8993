"""The process's life: open the port, wait for a signal, stop in order. Owns sockets and signals."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from aiohttp import web

from recsys.errors import SettingsError
from recsys.serving.collector import collect_by_the_clock
from recsys.settings import ServerSettings, Settings
from recsys.web.app import ARRIVALS, EVENTS, HEALTH, TELEMETRY, TURNS, build_app
from recsys.web.connection import Connection

_MAX_LINE_BYTES = 32 * 1024
#: A thread that holds the GIL gives it to the event loop after this long; Python's own 5 ms would be felt at p99.
_SWITCH_INTERVAL_S = 0.0005
_LOOK_AGAIN_S = 0.02
_log = structlog.get_logger(__name__)


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
        listener = await _listen(runner, server)
        await stop.wait()
        _log.info("stopping")
        app[HEALTH].stopping = True
        await _stop_listening(listener, _connections(runner, server), server.max_connections)
        app[EVENTS].close()
        # aiohttp reads nothing more once it closes, and waits in vain for a connection that was only just accepted: so
        # wait before that, for what those who came last have sent, and for what is in flight
        deadline = loop.time() + server.shutdown_s / 2
        await asyncio.sleep(_LOOK_AGAIN_S)
        while (app[TELEMETRY].in_flight or app[TURNS].are_awaited) and loop.time() < deadline:  # noqa: ASYNC110  only a count is kept
            await asyncio.sleep(_LOOK_AGAIN_S)
    finally:
        await runner.cleanup()
        collector.cancel()
    _log.info("stopped")


async def _listen(runner: web.AppRunner, server: ServerSettings) -> asyncio.Server:
    loop, connect = asyncio.get_running_loop(), _connections(runner, server)
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


def _connections(runner: web.AppRunner, server: ServerSettings) -> Callable[[], Connection]:
    loop, app = asyncio.get_running_loop(), runner.app
    manager: Any = runner.server

    def connect() -> Connection:
        return Connection(
            app[ARRIVALS],
            app[TURNS],
            manager,
            loop=loop,
            access_log=None,  # how aiohttp's own runner switches it off
            keepalive_timeout=server.keepalive_s,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
        )

    return connect


async def _stop_listening(listener: asyncio.Server, connect: Callable[[], Connection], most: int) -> None:
    """Close the port. Whoever the kernel has let in and the loop has not come to yet is taken along, since closing the
    last handle would cut them off, unread; at most as many as may wait there, or a flood would hold up the end.
    """
    handles = [socket.socket(fileno=os.dup(listening.fileno())) for listening in listener.sockets]
    listener.close()
    waiting: list[socket.socket] = []
    for handle in handles:
        with handle:
            waiting += _accepted(handle, most)
    for connection in waiting:
        await asyncio.get_running_loop().connect_accepted_socket(connect, connection)


def _accepted(listening: socket.socket, most: int) -> Iterator[socket.socket]:
    """Give who waits to be accepted, without waiting for more."""
    listening.setblocking(False)
    for _ in range(most):
        try:
            connection, _ = listening.accept()
        except OSError:  # nobody is left, or nobody can be taken
            return
        yield connection
