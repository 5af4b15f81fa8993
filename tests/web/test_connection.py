"""Who goes first, from the bytes on: ratings are held until it is their turn, and none is lost or changes its place."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from recsys.feedback import turnstile
from recsys.settings import ServerSettings, Settings
from recsys.web.app import SLOT, TURNS, build_app
from recsys.web.server import _listen, serve

LIVE = b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n"
pytestmark = pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")


def posted(user_id: str, *item_ids: str) -> bytes:
    body = json.dumps({"ratings": [{"user_id": user_id, "item_id": item, "rating": 3} for item in item_ids]}).encode()
    head = (
        b"POST /api/v1/ratings HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


class Others:
    """Says whether somebody goes first; not yet, as often as `let_through`."""

    def __init__(self) -> None:
        self.wait = False
        self.let_through = 0

    def is_any(self) -> bool:
        if self.let_through:
            self.let_through -= 1
            return False
        return self.wait

    def came(self, connection: object, content: bytes) -> None: ...
    def begun(self, connection: object) -> None: ...
    def ended(self, connection: object) -> None: ...
    def gone(self, connection: object) -> None: ...


class Served:
    def __init__(self, app: web.Application, server: web.Server, address: tuple[str, int]) -> None:
        self.app = app
        self.server = server
        self.item_ids = app[SLOT].take().servable.contents.catalogue.item_ids
        self._address = address

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._address)

    async def holds(self, n_held: int) -> None:
        """Return when so many wait for their turn."""
        async with asyncio.timeout(20):
            while len(self.app[TURNS]._waiting) < n_held:  # noqa: ASYNC110  only the state is there
                await asyncio.sleep(0.001)


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> Others:
    """Whom ratings wait for, as long as it takes."""
    others = Others()
    monkeypatch.setattr("recsys.web.app.Arrivals", lambda: others)
    monkeypatch.setattr(turnstile, "_PATIENCE_S", 60.0)
    return others


@pytest.fixture
async def served(others: Others, trained_sample: Path, tmp_path: Path) -> AsyncIterator[Served]:
    settings = Settings.model_validate({"paths": {"models": trained_sample, "state": tmp_path}})
    app = build_app(settings)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        async with asyncio.timeout(30):
            while app[SLOT].current is None:  # noqa: ASYNC110  only the model is there
                await asyncio.sleep(0.01)
            listener = await _listen(runner, settings.server.model_copy(update={"port": 0}))
            assert runner.server is not None
            yield Served(app, runner.server, listener.sockets[0].getsockname()[:2])
            listener.close()
    finally:
        await runner.cleanup()


async def test_each_has_a_turn_of_its_own(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    turn, begun = 0, list[int]()
    received = web.RequestHandler.data_received

    def noted(self: web.RequestHandler, data: bytes) -> None:
        if data:
            begun.append(turn)
        received(self, data)

    monkeypatch.setattr(web.RequestHandler, "data_received", noted)
    ends = [await served.connect() for _ in range(5)]
    await asyncio.sleep(0.1)  # all of them are accepted
    for number, (_, writer) in enumerate(ends):
        writer.write(posted(f"viewer-{number}", served.item_ids[0]))
    while len(begun) < len(ends):
        turn += 1
        await asyncio.sleep(0)
    answers = [await answer_of(reader) for reader, _ in ends]

    assert sorted(set(begun)) == begun
    assert answers == [(200, b'{"accepted":1,"duplicates":0}')] * 5


async def test_who_asks_goes_first(served: Served, others: Others) -> None:
    (rating, rates), (answer, asks) = await served.connect(), await served.connect()
    others.wait = True
    rates.write(posted("viewer", served.item_ids[0]))
    await served.holds(1)
    asks.write(LIVE)
    answered = await answer_of(answer)
    held = not rating._buffer and served.app[TURNS].are_awaited  # type: ignore[attr-defined]
    others.wait = False

    assert answered == (200, b'{"status":"live"}')
    assert held
    assert await answer_of(rating) == (200, b'{"accepted":1,"duplicates":0}')


async def test_answers_to_ratings_wait_as_well(served: Served, others: Others) -> None:
    (reader, writer), (answer, asks) = await served.connect(), await served.connect()
    others.wait, others.let_through = True, 1
    writer.write(posted("viewer", served.item_ids[0]))
    await served.holds(1)
    asks.write(b"GET /api/v1/users/viewer/ratings HTTP/1.1\r\nHost: here\r\n\r\n")
    _, kept = await answer_of(answer)
    others.wait = False

    assert len(json.loads(kept)["ratings"]) == 1
    assert await answer_of(reader) == (200, b'{"accepted":1,"duplicates":0}')


@pytest.mark.parametrize("n_pieces", [1, 2, 3])
async def test_the_rest_of_what_was_held_is_read(served: Served, others: Others, n_pieces: int) -> None:
    reader, writer = await served.connect()
    others.wait = True
    content = posted("viewer", served.item_ids[0])
    for start in range(0, 30 * n_pieces, 30):
        writer.write(content[start : start + 30])
        await asyncio.sleep(0.01)  # each piece is read by itself, if it is read
    await served.holds(1)
    others.wait = False
    while served.app[TURNS].are_awaited:  # noqa: ASYNC110  only the state is there
        await asyncio.sleep(0.001)
    writer.write(content[30 * n_pieces :])

    assert await answer_of(reader) == (200, b'{"accepted":1,"duplicates":0}')


async def test_what_is_held_comes_to_its_handler_whole_and_in_order(served: Served, others: Others) -> None:
    reader, writer = await served.connect()
    others.wait = True
    content = posted("viewer", *served.item_ids[:3]) + LIVE + posted("viewer", *served.item_ids[3:5]) + LIVE
    for start in range(0, len(content), 100):
        writer.write(content[start : start + 100])
        await writer.drain()
        await asyncio.sleep(0.005)  # each piece is read by itself, if it is read
    waiting = len(served.app[TURNS]._waiting)
    others.wait = False
    answers = [await answer_of(reader) for _ in range(4)]

    assert waiting == 1
    assert answers == [
        (200, b'{"accepted":3,"duplicates":0}'),
        (200, b'{"status":"live"}'),
        (200, b'{"accepted":2,"duplicates":0}'),
        (200, b'{"status":"live"}'),
    ]


async def test_what_is_read_all_the_same_keeps_its_place(served: Served, others: Others) -> None:
    """aiohttp reads on by itself when a handler takes the body of a request before."""
    reader, _ = await served.connect()
    while not served.server.connections:  # noqa: ASYNC110  only the state is there
        await asyncio.sleep(0.001)
    (connection,) = served.server.connections
    others.wait = True
    content = posted("viewer", *served.item_ids[:3]) + LIVE
    for start in range(0, len(content), 100):
        connection.data_received(content[start : start + 100])
    others.wait = False

    assert await answer_of(reader) == (200, b'{"accepted":3,"duplicates":0}')
    assert await answer_of(reader) == (200, b'{"status":"live"}')


async def test_no_more_is_read_than_is_held(served: Served, others: Others) -> None:
    reader, writer = await served.connect()
    others.wait = True
    writer.write(posted("viewer", served.item_ids[0]))
    await served.holds(1)
    writer.write(LIVE * 200_000)
    await asyncio.sleep(0.3)
    unread = writer.transport.get_write_buffer_size()
    others.wait = False
    first = await answer_of(reader)
    writer.transport.abort()

    assert unread > 0
    assert first == (200, b'{"accepted":1,"duplicates":0}')


@pytest.mark.parametrize("is_ours", [False, True], ids=["the client", "the service"])
async def test_who_is_gone_while_held_is_passed_over(served: Served, others: Others, is_ours: bool) -> None:
    failures = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failures.append(context))
    (_, gone), (reader, writer) = await served.connect(), await served.connect()
    others.wait = True
    gone.write(posted("gone", served.item_ids[0]))
    await served.holds(1)
    (held,) = [connection for connection in served.server.connections if connection._held]  # type: ignore[attr-defined]
    writer.write(posted("viewer", served.item_ids[0]))
    await served.holds(2)
    if is_ours:
        held.force_close()
    else:
        gone.transport.abort()
    await asyncio.sleep(0.05)
    others.wait = False

    assert await answer_of(reader) == (200, b'{"accepted":1,"duplicates":0}')
    assert not served.app[TURNS].are_awaited
    assert not failures


async def test_what_is_held_when_the_service_is_told_to_stop_is_answered(
    others: Others, trained_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apps, ports = list[web.Application](), list[int]()

    def build(settings: Settings) -> web.Application:
        apps.append(build_app(settings))
        return apps[0]

    async def listen(runner: web.AppRunner, settings: ServerSettings) -> asyncio.Server:
        listener = await _listen(runner, settings)
        ports.append(listener.sockets[0].getsockname()[1])
        return listener

    monkeypatch.setattr("recsys.web.server.build_app", build)
    monkeypatch.setattr("recsys.web.server._listen", listen)
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    paths = {"models": trained_sample, "state": tmp_path}
    settings = Settings.model_validate({"paths": paths, "server": {"host": "127.0.0.1", "port": 0}})
    async with asyncio.timeout(30):
        service = asyncio.create_task(serve(settings))
        while not ports or apps[0][SLOT].current is None:  # noqa: ASYNC110  only the model is there
            await asyncio.sleep(0.01)
        item_id = apps[0][SLOT].take().servable.contents.catalogue.item_ids[0]
        reader, writer = await asyncio.open_connection("127.0.0.1", ports[0])
        others.wait = True
        writer.write(posted("viewer", item_id))
        while not apps[0][TURNS].are_awaited:  # noqa: ASYNC110  only the state is there
            await asyncio.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        others.wait = False
        answer = await answer_of(reader)
        await service

    assert answer == (200, b'{"accepted":1,"duplicates":0}')


async def serve_until_the_port_closes(
    trained_sample: Path,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    closing: Callable[[Any, Callable[[], None]], None],
) -> None:
    """Serve, and stop at once. `closing` is called with the listener, and what closes it, when that is to be done."""

    async def listen(runner: web.AppRunner, settings: ServerSettings) -> asyncio.Server:
        listener = await _listen(runner, settings)
        monkeypatch.setattr(listener, "close", partial(closing, listener, listener.close))
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGTERM)
        return listener

    monkeypatch.setattr("recsys.web.server._listen", listen)
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    settings = {"paths": {"models": trained_sample, "state": state}, "server": {"host": "127.0.0.1", "port": 0}}
    await serve(Settings.model_validate(settings))


async def test_who_is_accepted_in_the_moment_of_the_stop_is_answered(
    trained_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed at once, aiohttp would read nothing from it, and wait in vain."""
    loop, (ours, theirs) = asyncio.get_running_loop(), socket.socketpair()
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(LIVE)

    def closing(listener: Any, close: Callable[[], None]) -> None:
        close()
        loop._make_socket_transport(theirs, listener._protocol_factory())  # type: ignore[attr-defined]

    await serve_until_the_port_closes(trained_sample, tmp_path, monkeypatch, closing)

    assert (await answer_of(reader))[0] == 200


async def test_who_has_connected_and_is_not_accepted_yet_is_answered_at_the_stop(
    trained_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the kernel's queue, of which the loop knows nothing: closing the port would cut them off."""
    clients: list[socket.socket] = []

    def closing(listener: Any, close: Callable[[], None]) -> None:
        for _ in range(3):
            clients.append(socket.create_connection(listener.sockets[0].getsockname()))
            clients[-1].sendall(LIVE)
        close()

    await serve_until_the_port_closes(trained_sample, tmp_path, monkeypatch, closing)

    assert len(clients) == 3
    for client in clients:
        reader, writer = await asyncio.open_connection(sock=client)
        assert (await answer_of(reader))[0] == 200
        writer.close()
