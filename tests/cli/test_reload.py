"""Development: restarting on code changes, the debug port, and the log level."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from service import ROOT, ServerProcess

import recsys


class Reloading:
    """`recsys serve --reload` on a copy of the package."""

    def __init__(self, directory: Path, port: int, environ: dict[str, str]) -> None:
        self.package = directory / "code" / "recsys"
        shutil.copytree(Path(recsys.__file__).parent, self.package, ignore=shutil.ignore_patterns("__pycache__"))
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        env |= environ | {"PYTHONPATH": str(directory / "code"), "PYTHONUNBUFFERED": "1"}
        env |= {"RECSYS_CONFIG_DIR": str(ROOT / "config")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recsys", "serve", "--reload", "--port", str(port)],
            cwd=directory, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(line.rstrip() for line in iter(self.process.stderr.readline, ""))

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not {what}:\n" + "\n".join(self.log[-40:])
            assert self.process.poll() is None, "\n".join(self.log[-40:])
            time.sleep(0.05)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def reloading(tmp_path: Path, store_with: Callable[..., object], sample: Path, port: int) -> Iterator[Reloading]:
    store_with("v1.0.0")
    environ = {
        "RECSYS_PATHS__MODELS": str(tmp_path / "models"),
        "RECSYS_PATHS__STATE": str(tmp_path / "state"),
        "RECSYS_PATHS__SAMPLE": str(sample),
    }
    running = Reloading(tmp_path, port, environ)
    try:
        running.wait_for(lambda: is_listening(port), "listening")
        yield running
    finally:
        running.end()


def times_listened(running: Reloading) -> int:
    return sum("listening" in line for line in running.log)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_code_change_restarts_the_service_and_a_signal_ends_it_cleanly(
    reloading: Reloading, port: int, number: signal.Signals
) -> None:
    reloading.wait_for(lambda: times_listened(reloading) == 1, "listening once")
    version = reloading.package / "__init__.py"
    version.write_text(re.sub(r'__version__ = "[^"]*"', '__version__ = "9.9.9"', version.read_text()))

    reloading.wait_for(lambda: times_listened(reloading) == 2, "started again")
    server = ServerProcess(reloading.process, reloading.package, log=reloading.log, address=f"http://127.0.0.1:{port}")
    server.wait_ready()
    assert server.request("/health").json["version"] == "9.9.9"

    reloading.process.send_signal(number)
    assert reloading.process.wait(20) == 0
    assert not is_listening(port)
    assert sum("stopped" in line for line in reloading.log) == 2, "both were let end in order"


@pytest.mark.slow
def test_a_change_of_other_files_restarts_nothing(reloading: Reloading) -> None:
    reloading.wait_for(lambda: times_listened(reloading) == 1, "listening once")
    (reloading.package / "notes.txt").write_text("mine")
    (reloading.package / "__main__.py").touch()  # a later change that does restart shows that the first did not

    reloading.wait_for(lambda: times_listened(reloading) >= 2, "started again")
    assert times_listened(reloading) == 2


@pytest.mark.skipif(find_spec("debugpy") is not None, reason="debugpy is installed")
def test_a_debug_port_without_debugpy_is_one_clear_line(tmp_path: Path, port: int) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {"RECSYS_SERVER__DEBUG_PORT": str(port), "RECSYS_PATHS__STATE": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "recsys", "serve", "--port", "0"],
        cwd=tmp_path, env=env, text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("recsys: RECSYS_SERVER__DEBUG_PORT needs debugpy, which is not installed")
    assert "pip install debugpy" in line


@pytest.mark.parametrize("level", ["DEBUG", "debug", "WARNING"])
def test_the_log_level_is_a_setting(tmp_path: Path, level: str) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
    env |= {"RECSYS_LOG__LEVEL": level}
    script = (
        "import structlog, recsys.cli.settings as s, recsys.cli.logs as l\n"
        "found = s.read_settings({}).log\nl.configure_logging(found.level, 'json')\n"
        "log = structlog.get_logger()\nlog.debug('a detail'); log.warning('a warning')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=60, check=True
    )
    assert "a warning" in done.stderr
    assert (level.upper() == "DEBUG") == ("a detail" in done.stderr)
