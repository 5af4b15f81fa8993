"""Fixtures for everybody: real data where it is, trained versions, a store, and a real server process."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from buckets import CREDENTIALS, MINISTACK, make_bucket, ministack_server, moto_server
from service import ROOT, ServerProcess, copy_version

from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version
from recsys.settings import S3Settings
from recsys.training.pipeline import train
from recsys.training.plan import TrainingPlan

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell runs in the background; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


@pytest.fixture
def serve(tmp_path: Path, sample: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers in `tmp_path` (models in `models`, state in `state`); all are ended by their own process ids.
    `command` is for one that is started in another way, as the same process.
    """
    started: list[ServerProcess] = []

    def start(
        *arguments: str, environ: dict[str, str] | None = None, wait: bool = True, command: list[str] | None = None
    ) -> ServerProcess:
        env = {name: value for name, value in os.environ.items() if not name.startswith("RECSYS_")}
        env |= {
            "RECSYS_PATHS__MODELS": str(tmp_path / "models"),
            "RECSYS_PATHS__STATE": str(tmp_path / "state"),
            "RECSYS_PATHS__SAMPLE": str(sample),
            "RECSYS_CONFIG_DIR": str(ROOT / "config"),
            "PYTHONUNBUFFERED": "1",
        } | (environ or {})
        process = subprocess.Popen(
            command or [sys.executable, "-m", "recsys", "serve", "--port", "0", *arguments],
            cwd=tmp_path, env=env, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        server = ServerProcess(process, tmp_path)
        started.append(server)
        listening = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                server.log.append(line.rstrip())
                if found := re.search(r'address(?:=|": ?")(http://[^\s"]+)', line):
                    server.address = found[1]
                    listening.set()
            listening.set()

        server.reader = threading.Thread(target=read, daemon=True)
        server.reader.start()
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
        if server.reader is not None:
            server.reader.join(10)
        if server.process.stderr:
            server.process.stderr.close()


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """The address of one server of the bucket's protocol."""
    with moto_server() as address:
        yield address


@pytest.fixture(scope="session", params=["moto", "ministack"])
def bucket_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of each of two servers, which were written by different people."""
    if request.param == "moto":
        yield request.getfixturevalue("moto")
        return
    if not MINISTACK.exists():
        pytest.skip(f"needs ministack in {MINISTACK.parents[1]}: python -m venv there, then pip install ministack")
    with ministack_server(tmp_path_factory.mktemp("ministack")) as address:
        yield address


_bucket_numbers = itertools.count()


@pytest.fixture
def make_s3(monkeypatch: pytest.MonkeyPatch) -> Callable[..., S3Settings]:
    """Make a bucket of its own on a server, and the settings for it; `through` is a proxy's address."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    def make(address: str, *, through: str | None = None, **options: Any) -> S3Settings:
        name = f"films-{next(_bucket_numbers)}"
        make_bucket(address, name)
        return S3Settings(bucket=name, prefix="test/recsys", endpoint_url=through or address, **options)

    return make
