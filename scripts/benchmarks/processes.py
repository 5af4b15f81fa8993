"""The processes of a run: servers, the load client, what they use, and their end, also on Ctrl-C."""

import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks import client
from benchmarks.client import Job, Outcome

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 15.0
_READY_S = 60.0


@dataclass
class Server:
    """A process that listens on 127.0.0.1. It leads a process group of its own, so that its workers end with it."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    state: Path = Path()

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request("GET" if body is None else "POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait_ready(self, path: str, every_s: float = 0.01) -> None:
        deadline = time.monotonic() + _READY_S
        while True:
            with suppress(OSError):
                if self.ask(path)[0] == 200:
                    return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a server did not come up:\n{self.log.read_text()[-2000:]}")
            time.sleep(every_s)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def rss_mb(self) -> float:
        return _status_kb(self.process.pid, "VmRSS") / 1024

    @property
    def group_rss_mb(self) -> float:
        """That of the process and all it has started (shared pages count in each)."""
        total_kb = 0
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                if os.getpgid(int(path.name)) == self.process.pid:
                    total_kb += _status_kb(int(path.name), "VmRSS")
        return total_kb / 1024

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _status_kb(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise ValueError(f"process {pid} has no {name}")


class Processes:
    """Starts processes in a working directory, and ends every one of them at its own end."""

    def __init__(self, directory: Path, data: Path | None) -> None:
        self.directory = directory
        self._data = data
        self._servers: list[Server] = []
        self._clients: list[LoadClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # a second Ctrl-C must not leave half of them behind
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        for load_client in self._clients:
            load_client.close()
        for server in self._servers:
            server.stop()

    def client(self) -> "LoadClient":
        load_client = LoadClient()
        self._clients.append(load_client)
        return load_client

    def start(self, arguments: Sequence[str], port: int, environ: Mapping[str, str]) -> Server:
        log = self.directory / f"server-{len(self._servers)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=self.directory, env=clean_environment() | environ,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        server = Server(process, port, log)
        self._servers.append(server)
        return server

    def settings(self) -> dict[str, str]:
        """What every `recsys` of a run is told; the rest are the defaults."""
        told = {"RECSYS_PATHS__SAMPLE": str(self.directory / "sample")}
        return told | ({"RECSYS_DATA__PATH": str(self._data)} if self._data else {})

    def run(self, arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[str, float, float]:
        """Run a command to its end; returns what it printed, seconds, and peak memory in MB.

        Errors: RuntimeError when it failed.
        """
        log = self.directory / "run.log"
        started = time.perf_counter()
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments], cwd=self.directory,
                env=clean_environment() | self.settings() | environ,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
            )  # fmt: skip
        try:
            assert process.stdout is not None
            printed = process.stdout.read().decode()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise RuntimeError(f"{' '.join(arguments)} failed:\n{log.read_text()[-2000:]}")
        return printed, time.perf_counter() - started, usage.ru_maxrss / 1024

    def recsys(self, models: Path, *, state: Path | None = None, ready: bool = True) -> Server:
        """Start the service on a directory of versions, with default settings and, if none is given, a state directory
        of its own.
        """
        port = free_port()
        state = state or self.directory / f"state-{len(self._servers)}"
        environ = self.settings() | {"RECSYS_PATHS__MODELS": str(models), "RECSYS_PATHS__STATE": str(state)}
        server = self.start(["recsys", "serve", "--port", str(port)], port, environ)
        server.state = state
        if ready:
            server.wait_ready("/health/ready")
        return server


class LoadClient:
    """The load client's process, and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=client.main, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def keep(self, name: str, requests: list[bytes]) -> None:
        self._pipe.send(("requests", name, requests))

    def start(self, job: Job) -> None:
        self._pipe.send(job)

    def wait(self, on_seen: Callable[[str, float], None] = lambda version, at: None) -> Outcome:
        while True:
            message = self._pipe.recv()
            if isinstance(message, Outcome):
                return message
            on_seen(message[1], message[2])

    def seen(self, timeout_s: float) -> tuple[str, float] | None:
        """The next version the client was answered with, and when; None when there is none in time."""
        if not self._pipe.poll(timeout_s):
            return None
        message = self._pipe.recv()
        return message[1], message[2]

    def tell_to_end(self) -> None:
        self._pipe.send(("end",))

    def run(self, job: Job) -> Outcome:
        self.start(job)
        return self.wait()

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def clean_environment() -> dict[str, str]:
    """This environment without what would change what is measured: settings, and that code is compiled at each start,
    as it is nowhere where it runs: the image holds it compiled.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RECSYS_") and name != "PYTHONDONTWRITEBYTECODE"
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
