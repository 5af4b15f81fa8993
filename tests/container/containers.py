"""What tests of the image share: podman, a container and its answers, and a copy of the project to build from."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service import ROOT, Answer

#: What the compose file asks for, by podman's options.
HARDENED = (
    "--init", "--read-only", "--tmpfs=/tmp:size=256m,mode=1777", "--cap-drop=all",
    "--security-opt=no-new-privileges:true", "--pids-limit=256", "--memory=2g",
)  # fmt: skip
STAND_IN_BASE = "localhost/python-base:3.13-trixie"


def podman(*arguments: str, timeout_s: float = 120.0, check: bool = True, **options: Any) -> str:
    """Run podman and return what it printed; its complaints about a machine without systemd are not ours."""
    done = subprocess.run(
        ["podman", *arguments],
        # where memory runs out, podman's monitor leaves a file `oom` in the directory that it was started in
        cwd=tempfile.gettempdir(), text=True, capture_output=True, timeout=timeout_s, check=False, **options,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"podman {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def remove_images(*names: str) -> None:
    """Remove those that are there, but not the steps they were built in: another worker may be building on them now.

    `podman image prune` removes the steps.
    """
    podman("image", "rm", "--force", "--no-prune", *names, check=False)


def base_image() -> str:
    """The base of `prepare-podman` where it is, the public one elsewhere."""
    there = subprocess.run(["podman", "image", "exists", STAND_IN_BASE], check=False).returncode == 0
    return os.environ.get("BASE_IMAGE") or (STAND_IN_BASE if there else "docker.io/library/python:3.13-slim-trixie")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> float:
    """Return how long it took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > timeout_s:
            raise AssertionError(f"not {what} after {timeout_s} s")
        time.sleep(0.05)
    return time.monotonic() - started


def copy_project(target: Path) -> Path:
    """Copy the project without what was made in it, so that a test may change it."""
    made = shutil.ignore_patterns(".git", ".venv*", ".*cache", ".hypothesis", "__pycache__", "*.egg-info", "data")
    return Path(shutil.copytree(ROOT, target, ignore=made, dirs_exist_ok=True))


@dataclass
class Served:
    """A service on a port of 127.0.0.1."""

    port: int

    def request(
        self, path: str, *, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        headers = dict(headers or {})
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def says(self, path: str, status: int = 200) -> bool:
        try:
            return self.request(path).status == status
        except OSError:
            return False

    def wait_ready(self, timeout_s: float = 60.0) -> float:
        return wait_for(lambda: self.says("/health/ready"), "ready", timeout_s)


@dataclass
class Container(Served):
    """A container of the image, run as compose.yaml would."""

    name: str

    def run(self, *command: str, check: bool = True) -> str:
        return podman("exec", self.name, *command, check=check)

    def admin(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.run('recsys', 'token').strip()}"}

    def log(self) -> str:
        done = subprocess.run(["podman", "logs", self.name], text=True, capture_output=True, timeout=30, check=True)
        return done.stdout + done.stderr

    def inspect(self) -> Any:
        return json.loads(podman("inspect", self.name))[0]

    def wait_idle(self) -> None:
        """A first model is served before its run has ended, and whoever asks for another is given that one."""
        wait_for(lambda: self.request("/health").json["retraining"]["running"] is None, "idle", 20)

    def retrain(self, timeout_s: float = 60.0) -> Any:
        """Ask for a training and return the job as it ended."""
        admin = self.admin()
        self.wait_idle()
        job_id = self.request("/admin/retrain", method="POST", headers=admin).json["job_id"]
        job: Any = {}

        def ended() -> bool:
            job.update(self.request(f"/admin/jobs/{job_id}", headers=admin).json)
            return job["ended_at"] is not None

        wait_for(ended, "trained", timeout_s)
        return job


def script(name: str, project: Path, environ: dict[str, str], *arguments: str, answer: str = "") -> tuple[int, str]:
    """Run one of ./scripts in a copy of the project; return its status and all that it printed."""
    tools = Path(sys.executable).parent  # podman-compose is installed beside
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RECSYS_", "COMPOSE_"))}
    env |= {"PATH": f"{tools}:{os.environ['PATH']}", "BASE_IMAGE": base_image()} | environ
    done = subprocess.run(
        [project / "scripts" / name, *arguments],
        cwd=project, env=env, input=answer, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, re.sub(r"(?m)^.*systemd.*\n", "", done.stdout)
