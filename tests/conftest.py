"""Fixtures for everybody: real data where it is, trained versions, a store, and a real server process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).parents[1]
_SHARED = ROOT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run long fault tests whole, not a seeded share")


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


def _movielens(name: str) -> Path:
    path = _SHARED / name
    if not path.is_dir():
        pytest.skip(f"needs MovieLens {name} in {path}, which may not be redistributed")
    return path


@pytest.fixture(scope="session")
def ml_100k() -> Path:
    return _movielens("ml-100k")


@pytest.fixture(scope="session")
def ml_latest_small() -> Path:
    return _movielens("ml-latest-small")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample data set, written once."""
    from recsys.datasets.sample_files import write_sample

    return write_sample(tmp_path_factory.mktemp("data") / "sample")


@pytest.fixture(scope="session")
def trained_sample(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models directory with v1.0.0, trained on the sample. Read-only by agreement: copy it (`store_with`)."""
    models = tmp_path_factory.mktemp("trained") / "models"
    train(TrainingPlan(models=models, sample=sample), now=lambda: datetime.now(UTC))
    return models


@pytest.fixture
def store_with(trained_sample: Path, tmp_path: Path) -> Callable[..., ModelStore]:
    """Make a store in `tmp_path/models` that holds the sample's model under each of the names given."""

    def make(*versions: str) -> ModelStore:
        store = ModelStore(tmp_path / "models")
        store.ensure()
        for version in versions:
            copy_version(trained_sample / "v1.0.0", store.path(Version.parse(version)))
        return store

    return make


def copy_version(source: Path, target: Path, **changes: Any) -> None:
    """Copy a version under another name, as one rename; `changes` go into its manifest."""
    staged = target.parent / ".staging" / f"copy-{target.name}"
    shutil.rmtree(staged, ignore_errors=True)
    shutil.copytree(source, staged)
    manifest = json.loads((staged / "manifest.json").read_text())
    manifest.update({"version": target.name, **changes})
    (staged / "manifest.json").write_text(json.dumps(manifest))
    staged.rename(target)


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ServerProcess:
    """A real `recsys serve` in a process of its own, on a free port of 127.0.0.1."""

    process: "subprocess.Popen[str]"
    directory: Path
    log: list[str] = field(default_factory=list)
    address: str = ""

    def request(
        self, path: str, *, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Ask over a socket. A dict or list goes as JSON, bytes as they are."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        asked = urllib.request.Request(self.address + path, data=body, method=method, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        self.wait_for(lambda: self.request("/health/ready").status == 200, "ready", timeout_s)

    def wait_version(self, version: str, timeout_s: float = 10.0) -> None:
        self.wait_for(lambda: self.request("/health").json["model_version"] == version, version, timeout_s)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"not {what} after {timeout_s} s; the log:\n" + "\n".join(self.log[-50:]))
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)


@pytest.fixture
def serve(tmp_path: Path, sample: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers in `tmp_path` (models in `models`, state in `state`); all are ended by their own process ids."""
    started: list[ServerProcess] = []

    def start(*arguments: str, environ: dict[str, str] | None = None, wait: bool = True) -> ServerProcess:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        env |= {
            "RECSYS_PATHS__MODELS": str(tmp_path / "models"),
            "RECSYS_PATHS__STATE": str(tmp_path / "state"),
            "RECSYS_PATHS__SAMPLE": str(sample),
            "RECSYS_CONFIG_DIR": str(ROOT / "config"),
            "PYTHONUNBUFFERED": "1",
        } | (environ or {})
        process = subprocess.Popen(
            [sys.executable, "-m", "recsys", "serve", "--port", "0", *arguments],
            cwd=tmp_path, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        server = ServerProcess(process, tmp_path)
        started.append(server)
        listening = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                server.log.append(line.rstrip())
                if found := re.search(r"address=(http://\S+)", line):
                    server.address = found[1]
                    listening.set()
            listening.set()

        threading.Thread(target=read, daemon=True).start()
        assert listening.wait(30), "the server does not listen"
        assert server.address, "the server ended:\n" + "\n".join(server.log)
        if wait:
            server.wait_ready()
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(10)
        if server.process.stderr:
            server.process.stderr.close()
