"""The load client: one process that asks as fast as it is answered, or at a fixed rate, and records every latency.

It must cost far less than the server it measures, so it writes ready-made requests and reads no more of an answer than
its length, status and version. Its own share of a processor is in every outcome: near 1 means that it, and not the
server, was measured.
"""

import asyncio
import math
import os
import signal
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvloop

from benchmarks.pacing import PERIOD_S, Timer

_DRAIN_S = 10.0


@dataclass(frozen=True)
class Job:
    """What to ask of whom. `rate` None: closed loop, each connection asks again once answered. `endings`: the right end
    of each request's answer, by the parity of the version's patch number.
    """

    port: int
    requests: str
    seconds: float
    connections: int = 32
    start: int = 0
    rate: float | None = None
    check_version: bool = False
    endings: tuple[list[bytes], list[bytes]] | None = None
    until_told: bool = False


@dataclass
class Outcome:
    """What came of a job. `answered` while it ran; what was due by then and answered afterwards has its latency too."""

    answered: int = 0
    failed: int = 0
    inconsistent: int = 0
    seconds: float = 0.0
    cpu_share: float = 0.0
    n_bytes: int = 0
    latencies_ms: "array[float]" = field(default_factory=lambda: array("d"))
    first_failure: str = ""

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


class Load:
    """One run of a job: hands out requests, and takes answers."""

    def __init__(self, job: Job, requests: list[bytes], seen: Callable[[str], None]) -> None:
        self.job = job
        self.outcome = Outcome()
        self.running = True
        self.in_flight = 0
        self.idle: deque[Connection] = deque()
        self.waiting: deque[tuple[float, int]] = deque()
        self._requests = requests
        self._next = job.start
        self._version = b""
        self._seen = seen
        self.drained = asyncio.Event()

    def take(self) -> int:
        number = self._next
        self._next = number + 1
        return number % len(self._requests)

    def send(self, connection: "Connection", number: int, due: float) -> None:
        connection.due, connection.number = due, number
        self.in_flight += 1
        connection.transport.write(self._requests[number])

    def answered(self, connection: "Connection", status: bytes, head: bytes, body: bytes | None) -> None:
        now = time.perf_counter()
        outcome = self.outcome
        self.in_flight -= 1
        outcome.answered += self.running
        if self.running or self.job.rate is not None:
            outcome.latencies_ms.append((now - connection.due) * 1e3)
        if status != b"200":
            self.failed(f"status {status.decode()}")
        elif self.job.check_version:
            self._check(connection.number, head, body or b"")
        if self.waiting:
            due, number = self.waiting.popleft()
            self.send(connection, number, due)
        elif self.job.rate is not None:
            self.idle.append(connection)
        elif self.running:
            self.send(connection, self.take(), now)
        if not self.running and not self.in_flight:
            self.drained.set()

    def failed(self, reason: str) -> None:
        self.outcome.failed += 1
        self.outcome.first_failure = self.outcome.first_failure or reason

    def _check(self, number: int, head: bytes, body: bytes) -> None:
        """The version in the header, the one in the body, and the answer that this version must give agree."""
        start = head.find(b"x-model-version: ") + 17
        version = head[start : head.find(b"\r", start)]
        consistent = b'"model_version":"' + version + b'"' in body
        if self.job.endings is not None:
            ending = self.job.endings[version[-1] % 2][number]
            consistent = consistent and body.endswith(ending)
        if not consistent:
            self.outcome.inconsistent += 1
            self.outcome.first_failure = self.outcome.first_failure or f"header {version!r}, body {body[:120]!r}"
        if version != self._version:
            self._version = version
            self._seen(version.decode())


class Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    transport: asyncio.Transport

    def __init__(self, load: Load) -> None:
        self.due = 0.0
        self.number = 0
        self._load = load
        self._wants_body = load.job.check_version
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def connection_lost(self, exc: Exception | None) -> None:
        if self._load.running:
            self._load.failed(f"connection lost: {exc}")

    def data_received(self, data: bytes) -> None:
        if self._received:
            data = self._received + data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._received = data
            return
        head = data[: end + 2].lower()
        at = head.find(b"content-length: ")
        if at >= 0:
            total = end + 4 + int(head[at + 16 : head.find(b"\r", at)])
            complete = len(data) >= total
        else:
            # a chunked answer; one is under way at a time, so what ends with the last chunk is complete
            complete = data.endswith(b"0\r\n\r\n")
        if not complete:
            self._received = data
            return
        self._received = b""
        self._load.outcome.n_bytes += len(data)
        self._load.answered(self, data[9:12], head, data[end + 4 :] if self._wants_body else None)


async def run(job: Job, requests: list[bytes], seen: Callable[[str], None], told: Callable[[], bool]) -> Outcome:
    loop = asyncio.get_running_loop()
    load = Load(job, requests, seen)
    connections = []
    for _ in range(job.connections):
        _, connection = await loop.create_connection(lambda: Connection(load), "127.0.0.1", job.port)
        connections.append(connection)
    started, cpu = time.perf_counter(), time.process_time()
    if job.rate is None:
        for connection in connections:
            load.send(connection, load.take(), time.perf_counter())
        await asyncio.sleep(job.seconds)
    else:
        load.idle.extend(connections)
        timer = Timer(lambda: _send_due(load, timer.began))
        while time.perf_counter() - started < job.seconds and not (job.until_told and told()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        timer.close()
    load.running = False
    load.outcome.seconds = time.perf_counter() - started
    load.outcome.cpu_share = (time.process_time() - cpu) / load.outcome.seconds
    if load.in_flight:
        try:
            await asyncio.wait_for(load.drained.wait(), _DRAIN_S)
        except TimeoutError:
            load.failed("no answer before the end")
    for connection in connections:
        connection.transport.close()
    return load.outcome


def _send_due(load: Load, began: float) -> None:
    """Ask what is due. A request counts from when it was due, so that one that had to wait for a connection, or for
    this client, is not shown as fast (coordinated omission).
    """
    rate = load.job.rate or 1.0
    now = time.perf_counter()
    while (due := began + math.ceil((load._next - load.job.start) / rate / PERIOD_S) * PERIOD_S) <= now:
        number = load.take()
        if load.idle:
            load.send(load.idle.popleft(), number, due)
        else:
            load.waiting.append((due, number))


def main(pipe: Pipe) -> None:
    """Serve the parent: ("requests", name, list) keeps a list; a Job is run and answered by its Outcome, with
    ("seen", version, monotonic time) before it for each version as it is first seen.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept: dict[str, list[bytes]] = {}
    while True:
        try:
            message = pipe.recv()
        except EOFError:
            return
        if isinstance(message, Job):

            def seen(version: str) -> None:
                pipe.send(("seen", version, time.monotonic()))

            # a client that was woken would take the processor from the server in mid-request; at a fixed rate it may,
            # since its clock must not be late
            os.sched_setscheduler(0, os.SCHED_BATCH if message.rate is None else os.SCHED_OTHER, os.sched_param(0))
            outcome = uvloop.run(run(message, kept[message.requests], seen, pipe.poll))
            if message.until_told and pipe.poll():
                pipe.recv()
            pipe.send(outcome)
        else:
            kept[message[1]] = message[2]
