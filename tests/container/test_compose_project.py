"""The compose project and ./scripts, as README.md says to use them: in production and in development."""

import json
import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from containers import Container, Served, base_image, copy_project, free_port, podman, remove_images, script, wait_for

RATING = {"ratings": [{"user_id": "ann", "item_id": "5", "rating": 5}]}


@dataclass
class Project:
    """A compose project of its own name, port, image names, and copy of the source, which a test may change."""

    directory: Path
    name: str
    environ: dict[str, str]
    compose: Path

    def run(self, script_name: str, *arguments: str, answer: str = "") -> tuple[int, str]:
        return script(script_name, self.directory, self.environ, *arguments, answer=answer)

    def up(self) -> Container:
        env = os.environ | self.environ | {"BASE_IMAGE": base_image()}
        done = subprocess.run(
            [self.compose, "up", "--detach", "--no-build"],
            cwd=self.directory, env=env, text=True, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return self.container

    @property
    def container(self) -> Container:
        return Container(int(self.environ["RECSYS_PORT"]), f"{self.name}_recsys_1")

    def volumes(self) -> list[str]:
        return [name for name in podman("volume", "ls", "--quiet").split() if name.startswith(self.name)]


@pytest.fixture
def project(image: Any, compose: Path, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    made: list[Project] = []

    def make(**environ: str) -> Project:
        name = f"recsystest{secrets.token_hex(4)}"
        environ |= {
            "COMPOSE_PROJECT_NAME": name,
            "RECSYS_PORT": str(free_port()),
            "RECSYS_DEBUG_PORT": str(free_port()),
            "RECSYS_IMAGE": image.name.replace(":latest", f":{name}-production"),
            "RECSYS_DEV_IMAGE": image.name.replace(":latest", f":{name}"),
        }
        podman("tag", image.name, environ["RECSYS_IMAGE"])  # a name of its own, since cleaning up removes it
        made.append(Project(copy_project(tmp_path / name), name, environ, compose))
        return made[-1]

    yield make
    for one in made:
        podman("rm", "--force", "--time=0", one.container.name, check=False)
        podman("network", "rm", "--force", f"{one.name}_default", check=False)
        podman("volume", "rm", "--force", f"{one.name}_data", check=False)
        remove_images(one.environ["RECSYS_DEV_IMAGE"], one.environ["RECSYS_IMAGE"])


def test_production_is_confined_and_takes_its_token_from_a_file(
    project: Callable[..., Project], tmp_path: Path
) -> None:
    token = secrets.token_urlsafe(32)
    (tmp_path / "token").write_text(token + "\n")
    (tmp_path / "token").chmod(0o644)
    production = project(RECSYS_ADMIN_TOKEN_FILE=str(tmp_path / "token"))
    running = production.up()
    running.wait_ready()

    host, seen = running.inspect()["HostConfig"], running.inspect()
    assert (host["ReadonlyRootfs"], host["Memory"], host["PidsLimit"]) == (True, 2 * 2**30, 256)
    assert "CapEff:\t0000000000000000" in running.run("cat", "/proc/1/status")
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert seen["Config"]["Healthcheck"]["Test"] == ["CMD", "python", "-IS", "/app/healthcheck.py"]
    assert next(iter(host["PortBindings"].values()))[0]["HostIp"] == "127.0.0.1"
    assert running.request("/admin/models", headers={"Authorization": f"Bearer {token}"}).status == 200
    assert token not in running.log() + json.dumps(seen) + running.request("/health").body.decode()
    assert "admin-token" not in running.run("ls", "/app/data/state")
    status, printed = production.run("token")
    assert (status, token in printed) == (0, False)

    started = time.monotonic()
    status, printed = production.run("stop")
    assert status == 0, printed
    assert time.monotonic() - started < 20
    assert production.volumes() == [f"{production.name}_data"]


def test_development_from_first_start_to_clean_up(project: Callable[..., Project]) -> None:
    dev = project()
    status, printed = dev.run("dev")
    assert status == 0, printed
    for said in (dev.environ["RECSYS_PORT"], dev.environ["RECSYS_DEBUG_PORT"], "./scripts/train", "./scripts/stop"):
        assert said in printed
    running = dev.container
    health = running.request("/health").json
    assert (health["environment"], health["retraining"]["enabled"]) == ("development", False)
    assert "a debugger may attach" in running.log()
    running.wait_idle()

    status, printed = dev.run("train")
    assert status == 0, printed
    assert re.search(r"^accepted v1\.0\.1", printed, re.MULTILINE), printed
    wait_for(lambda: running.request("/health").json["model_version"] == "v1.0.1", "swapped", 5)

    source = dev.directory / "recsys" / "__init__.py"
    source.write_text(re.sub(r'__version__ = ".+"', '__version__ = "9.9.9"', source.read_text()))
    wait_for(lambda: _version(running) == "9.9.9", "reloaded", 30)

    running.wait_ready()
    assert running.request("/api/v1/ratings", method="POST", body=RATING).json["accepted"] == 1
    assert dev.run("stop", "--clean", answer="n\n")[0] == 1
    assert running.says("/health/live")
    status, printed = dev.run("stop", "--clean", answer="y\n")
    assert status == 0, printed
    assert dev.volumes() == [f"{dev.name}_data"]  # it holds a rating
    status, printed = dev.run("stop", "--clean", "--yes")
    assert status == 0, printed
    assert dev.volumes() == []


def test_clean_up_removes_a_volume_that_holds_no_ratings(project: Callable[..., Project]) -> None:
    production = project()
    production.up().wait_ready()

    status, printed = production.run("stop", "--clean", answer="y\n")

    assert status == 0, printed
    assert production.volumes() == []
    assert production.environ["RECSYS_IMAGE"] not in podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def test_a_training_that_is_refused_fails_the_command(project: Callable[..., Project]) -> None:
    production = project()
    running = production.up()
    running.wait_ready()
    running.wait_idle()
    # the ratings are gone at the next training
    running.run("sh", "-c", "rm -rf /app/data/sample && touch /app/data/sample")

    status, printed = production.run("train")

    assert status == 1, printed
    assert re.search(r"^(failed|rejected)", printed, re.MULTILINE), printed
    assert running.request("/api/v1/users/1/recommendations").status == 200


def _version(served: Served) -> str:
    try:
        return str(served.request("/health").json["version"])
    except (OSError, ValueError):
        return ""
