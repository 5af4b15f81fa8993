"""Server-sent events: what happens, told once, in order, to whoever listens, also after a break."""

import asyncio
import contextlib
import http.client
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from service import ServerProcess, copy_version

from recsys.errors import TooManyListenersError
from recsys.jobs.events import Event, EventHub

Serve = Callable[..., ServerProcess]
TOKEN = "the-token-of-these-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Told:
    """One event, or a comment, as it came."""

    id: int
    kind: str
    data: Any


class Listener:
    """A client of the stream, as a browser's EventSource reads it."""

    def __init__(self, server: ServerProcess, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(server.address).netloc, timeout=60)
        self._connection.request("GET", "/admin/events", headers=ADMIN | headers)
        self.answer = self._connection.getresponse()

    def __iter__(self) -> Iterator[Told]:
        fields: dict[str, str] = {}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif fields:
                if "data" in fields:
                    yield Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                else:
                    yield Told(0, "comment", None)
                fields = {}

    def until(self, is_last: Callable[[Told], bool]) -> list[Told]:
        found = []
        for told in self:
            found.append(told)
            if is_last(told):
                return found
        raise AssertionError(f"the stream ended after {found}")

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


@pytest.fixture
def server(serve: Serve, store_with: Callable[..., object]) -> ServerProcess:
    store_with("v1.0.0")
    return serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})


@pytest.fixture
def listen(server: ServerProcess) -> Iterator[Callable[..., Listener]]:
    listeners: list[Listener] = []

    def start(last_event_id: str | None = None) -> Listener:
        listeners.append(Listener(server, {} if last_event_id is None else {"Last-Event-ID": last_event_id}))
        return listeners[-1]

    yield start
    for listener in listeners:
        listener.close()


def pin(server: ServerProcess) -> None:
    assert server.request("/admin/pin", method="PUT", body={"version": "v1.0.0"}, headers=ADMIN).status == 200


class TestOverHttp:
    def test_is_an_event_stream_that_nobody_keeps_back(self, listen: Callable[..., Listener]) -> None:
        answer = listen().answer

        assert answer.status == 200
        assert (answer.headers["Content-Type"] or "").split(";")[0] == "text/event-stream"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Accel-Buffering"] == "no"
        assert answer.headers["X-Request-ID"]
        # something comes at once, so that a client knows that it is connected
        assert answer.readline().startswith(b":")

    def test_follows_a_run_from_its_start_to_the_swap(
        self, server: ServerProcess, listen: Callable[..., Listener]
    ) -> None:
        listener = listen()
        job_id = server.request("/admin/retrain", method="POST", headers=ADMIN).json["job_id"]
        seen: list[Told] = []
        kinds: set[str] = set()

        def is_over(told: Told) -> bool:
            seen.append(told)
            kinds.update({told.kind, told.data.get("status", "")} if isinstance(told.data, dict) else ())
            return {"swap", "accepted"} <= kinds

        listener.until(is_over)
        jobs = [told.data for told in seen if told.kind == "job"]
        assert {job_id} == {job["job_id"] for job in jobs}
        assert jobs[-1]["status"] == "accepted"
        shares = [job["progress"] for job in jobs]
        assert sorted(shares) == shares
        assert {"read", "fit", "publish"} <= {job["stage"] for job in jobs}
        (swap,) = [told.data for told in seen if told.kind == "swap"]
        assert (swap["version"], swap["before"]) == ("v1.0.1", "v1.0.0")
        assert swap["at"].endswith("Z")
        ids = [told.id for told in seen if told.kind != "comment"]
        assert sorted(set(ids)) == ids

    def test_tells_of_a_quarantine(
        self, server: ServerProcess, listen: Callable[..., Listener], trained_sample: Path, tmp_path: Path
    ) -> None:
        listener = listen()
        broken = tmp_path / "models" / "v1.0.1"
        copy_version(trained_sample / "v1.0.0", broken, created_at="not a time")

        told = listener.until(lambda told: told.kind == "quarantine")[-1]
        assert told.data["version"] == "v1.0.1"
        assert "created_at" in told.data["reason"]

    def test_goes_on_after_a_break_where_it_stopped(
        self, server: ServerProcess, listen: Callable[..., Listener]
    ) -> None:
        first = listen()
        pin(server)
        heard = first.until(lambda told: told.kind == "pin")[-1]
        first.close()
        for _ in range(3):
            pin(server)

        pins = itertools.count(1)
        missed = listen(str(heard.id)).until(lambda told: told.kind == "pin" and next(pins) == 3)
        ids = [told.id for told in missed if told.kind != "comment"]
        assert list(range(heard.id + 1, heard.id + 1 + len(ids))) == ids

    def test_goes_on_after_a_restart_with_numbers_that_rise(
        self, server: ServerProcess, listen: Callable[..., Listener], serve: Serve
    ) -> None:
        listener = listen()
        pin(server)
        heard = listener.until(lambda told: told.kind == "pin")[-1]
        server.stop()

        again = serve(environ={"RECSYS_ADMIN__TOKEN": TOKEN})
        pin(again)
        resumed = Listener(again, {"Last-Event-ID": str(heard.id)})
        told = resumed.until(lambda told: told.kind == "pin")[-1]
        resumed.close()
        assert told.id > heard.id

    @pytest.mark.parametrize("given", ["soon", "-1", "1.5", "9" * 5000, "²"])
    def test_refuses_a_number_that_is_none(self, server: ServerProcess, given: str) -> None:
        answer = server.request("/admin/events", headers=ADMIN | {"Last-Event-ID": given})
        assert answer.status == 400

    def test_takes_a_number_that_is_yet_to_come(self, listen: Callable[..., Listener]) -> None:
        assert listen("9" * 20).answer.status == 200

    def test_a_listener_that_leaves_is_no_error(self, server: ServerProcess, listen: Callable[..., Listener]) -> None:
        for _ in range(3):
            listen().close()
        for _ in range(4):  # the first writes after a break may still find room in the kernel
            pin(server)
        server.wait_for(lambda: _in_flight(server) == 1, "let go")

        assert [line for line in server.log if "Traceback" in line or "nobody foresaw" in line] == []
        metrics = server.request("/metrics").body.decode()
        assert [line for line in metrics.splitlines() if "/admin/events" in line and 'status="500"' in line] == []

    def test_only_so_many_may_listen(self, server: ServerProcess, listen: Callable[..., Listener]) -> None:
        for _ in range(32):
            assert listen().answer.status == 200
        refused = server.request("/admin/events", headers=ADMIN)
        assert (refused.status, refused.json["code"]) == (503, "too_many_listeners")
        assert int(refused.headers["Retry-After"]) > 0

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_stop_ends_every_stream_at_once(
        self, server: ServerProcess, listen: Callable[..., Listener], number: signal.Signals
    ) -> None:
        listeners = [listen() for _ in range(4)]
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 3
        for listener in listeners:
            assert listener.answer.read().endswith(b"\n\n"), "an end, not a break"


class TestHub:
    @pytest.mark.asyncio
    async def test_a_quiet_time_brings_heartbeats(self) -> None:
        stream = EventHub().listen(None, heartbeat_s=0.01)
        assert [await anext(stream) for _ in range(3)] == [None, None, None]
        await stream.aclose()

    @pytest.mark.asyncio
    async def test_who_is_too_slow_is_let_go_and_loses_nothing_by_coming_back(self) -> None:
        hub = EventHub()
        slow = hub.listen(None, heartbeat_s=1)
        await anext(slow)
        hub.publish("job", {"number": 0})
        first = await anext(slow)
        assert first is not None
        for number in range(1, 301):
            hub.publish("job", {"number": number})
        heard = [first, *[event async for event in slow if event is not None]]

        back = hub.listen(heard[-1].id, heartbeat_s=0.01)
        await anext(back)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while (event := await anext(back)) is not None:
                    heard.append(event)
        await back.aclose()
        assert list(range(301)) == [event.data["number"] for event in heard]

    @pytest.mark.asyncio
    async def test_an_end_reaches_one_whose_queue_is_full(self) -> None:
        hub = EventHub()
        stream = hub.listen(None, heartbeat_s=1)
        await anext(stream)
        for number in range(200):
            hub.publish("job", {"number": number})
        hub.close()
        async with asyncio.timeout(5):
            told = [event async for event in stream]
        assert all(isinstance(event, Event) for event in told)

    @pytest.mark.asyncio
    async def test_a_listener_that_ends_makes_room(self) -> None:
        hub = EventHub()
        streams = [hub.listen(None, heartbeat_s=1) for _ in range(32)]
        for stream in streams:
            await anext(stream)
        with pytest.raises(TooManyListenersError):
            await anext(hub.listen(None, heartbeat_s=1))
        await streams.pop().aclose()
        streams.append(hub.listen(None, heartbeat_s=1))
        assert await anext(streams[-1]) is None
        for stream in streams:
            await stream.aclose()


def _in_flight(server: ServerProcess) -> int:
    text = server.request("/metrics").body.decode()
    line = next(line for line in text.splitlines() if line.startswith("recsys_http_requests_in_flight "))
    return int(float(line.split()[1]))
