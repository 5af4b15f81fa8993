"""The image, built once from a copy of the project, and containers of it, each removed by its own name."""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from containers import HARDENED, Container, copy_project, free_port, podman, remove_images, script

#: Planted where a careless build would take it up.
CANARY = "canary-" + secrets.token_hex(16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever comes first waits for the image to be built."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(600))


@dataclass(frozen=True)
class Built:
    """An image, and the project that it was built from."""

    name: str
    project: Path
    printed: str
    canary: str


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    if shutil.which("podman") is None:
        pytest.skip("needs podman; on Debian ../shared/container/prepare-podman installs it")
    name = f"localhost/recsys-test-{os.getpid()}:latest"
    project = copy_project(tmp_path_factory.mktemp("project"))
    for secret in (".env", "data/state/admin-token", "recsys/.netrc~", "config/.env"):
        (project / secret).parent.mkdir(parents=True, exist_ok=True)
        (project / secret).write_text(f"TOKEN={CANARY}\n")
    status, printed = script("build", project, {"RECSYS_IMAGE": name, "RECSYS_ADMIN__TOKEN": CANARY})
    assert status == 0, printed
    yield Built(name, project, printed, CANARY)
    remove_images(name)


@pytest.fixture
def container(image: Built) -> Iterator[Callable[..., Container]]:
    """Start containers as compose.yaml would; on the same `volume` the later one finds what the earlier one left."""
    yield from _containers(image)


@pytest.fixture(scope="module")
def trained(image: Built) -> Iterator[Container]:
    """One container that has its first model, for tests that leave it as it was, or better."""
    for start in _containers(image):
        yield start(volume="trained")


def _containers(image: Built) -> Iterator[Callable[..., Container]]:
    names: list[str] = []
    volumes: set[str] = set()

    def start(*options: str, volume: str = "data", wait: bool = True) -> Container:
        name = f"recsys-test-{secrets.token_hex(4)}"
        names.append(name)
        volume = f"recsys-test-{os.getpid()}-{volume}"
        volumes.add(volume)
        port = free_port()
        podman(
            "run", "--detach", f"--name={name}", *HARDENED, f"--publish=127.0.0.1:{port}:8000",
            f"--volume={volume}:/app/data", *options, image.name,
        )  # fmt: skip
        started = Container(port, name)
        if wait:
            started.wait_ready()
        return started

    yield start
    for name in names:
        podman("rm", "--force", "--time=0", name, check=False)
    for volume in volumes:
        podman("volume", "rm", "--force", volume, check=False)


@pytest.fixture
def compose(image: Built) -> Path:
    """Where podman-compose is; the project that the image was built from is run by it."""
    found = shutil.which("podman-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("needs podman-compose: pip install --require-hashes -r deploy/requirements-container.lock")
    return Path(found)
