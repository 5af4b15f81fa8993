"""Who has asked and is not being answered yet."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from recsys.settings import Settings
from recsys.web.app import ARRIVALS, build_app
from recsys.web.arrivals import Arrivals
from recsys.web.server import _listen

QUESTION = b"GET /health/live HTTP/1.1\r\nHost: here\r\n\r\n"


def test_a_whole_question_waits_until_its_answer_is_begun() -> None:
    arrivals = Arrivals()
    arrivals.came("a", QUESTION)
    waiting = arrivals.is_any()
    arrivals.begun("a")

    assert waiting
    assert not arrivals.is_any()


def test_it_waits_again_with_the_next_one() -> None:
    arrivals = Arrivals()
    for _ in range(2):
        arrivals.came("a", QUESTION)
        waiting = arrivals.is_any()
        arrivals.begun("a")
        arrivals.ended("a")

        assert waiting


@pytest.mark.parametrize(
    "content", [b"", b"GET /health/live HTTP/1.1\r\nHost:", b"POST /api/v1/ratings HTTP/1.1\r\n\r\n"]
)
def test_nothing_else_is_a_question(content: bytes) -> None:
    arrivals = Arrivals()
    arrivals.came("a", content)

    assert not arrivals.is_any()


def test_one_behind_another_has_to_wait_for_it_anyway() -> None:
    arrivals = Arrivals()
    arrivals.came("a", QUESTION)
    arrivals.begun("a")
    arrivals.came("a", QUESTION)

    assert not arrivals.is_any()


def test_who_has_gone_waits_no_more() -> None:
    arrivals = Arrivals()
    arrivals.came("a", QUESTION)
    arrivals.came("b", QUESTION)
    arrivals.gone("a")
    one_left = arrivals.is_any()
    arrivals.gone("b")

    assert one_left
    assert not arrivals.is_any()


def test_who_waits_for_long_holds_nobody_up() -> None:
    now = [0.0]
    arrivals = Arrivals(lambda: now[0])
    arrivals.came("a", QUESTION)
    now[0] = 0.04
    arrivals.came("b", QUESTION)
    now[0] = 0.06
    b_waits = arrivals.is_any()
    arrivals.begun("b")

    assert b_waits
    assert not arrivals.is_any()


class NotedArrivals(Arrivals):
    """Notes what it is told, and whether somebody waits then."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, bool]] = []
        self.connections: set[int] = set()
        self.is_over = asyncio.Event()
        self.asked_about = 0

    def is_any(self) -> bool:
        self.asked_about += 1
        return super().is_any()

    def _note(self, what: str, connection: object) -> None:
        self.connections.add(id(connection))
        self.told.append((what, bool(self._asked)))

    def came(self, connection: object, content: bytes) -> None:
        super().came(connection, content)
        if content:  # aiohttp's parser is also asked to go on with what it has
            self._note("came", connection)

    def begun(self, connection: object) -> None:
        super().begun(connection)
        self._note("begun", connection)

    def ended(self, connection: object) -> None:
        super().ended(connection)
        self._note("ended", connection)

    def gone(self, connection: object) -> None:
        super().gone(connection)
        self._note("gone", connection)
        self.is_over.set()


@pytest.mark.filterwarnings("ignore:It is recommended to use web.RequestKey")
async def test_the_server_says_who_comes_and_who_is_answered(
    trained_sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.web.app.Arrivals", NotedArrivals)
    settings = Settings.model_validate({"paths": {"models": trained_sample, "state": tmp_path}})
    app = build_app(settings)
    arrivals = app[ARRIVALS]
    assert isinstance(arrivals, NotedArrivals)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        async with asyncio.timeout(20):
            listener = await _listen(runner, settings.server.model_copy(update={"port": 0}))
            reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
            writer.write(QUESTION)
            answer = await reader.readuntil(b'{"status":"live"}')
            writer.write(b"POST /api/v1/ratings HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
            await reader.readuntil(b"}")
            writer.write(QUESTION[:20])
            await writer.drain()
            writer.close()
            await arrivals.is_over.wait()
            listener.close()
    finally:
        await runner.cleanup()

    assert answer.startswith(b"HTTP/1.1 200")
    assert arrivals.told[:3] == [("came", True), ("begun", False), ("ended", False)]
    assert arrivals.told[-1] == ("gone", False)
    assert len(arrivals.connections) == 1
    assert arrivals.asked_about > 0, "ratings do not ask who goes first"
