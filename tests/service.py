"""What tests of a running service share: the process, its answers, and a version copied under another name."""

import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


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
    reader: threading.Thread | None = None

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
        try:
            while not condition():
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError(self._with_log(f"not {what} after {timeout_s} s"))
                time.sleep(0.02)
        except urllib.error.URLError as error:
            raise AssertionError(self._with_log(f"not {what}: {error}")) from error

    def _with_log(self, problem: str) -> str:
        return f"{problem}; the log:\n" + "\n".join(self.log[-50:])

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 20.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)
