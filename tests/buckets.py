"""Servers of the bucket's protocol, each a process on a free port of 127.0.0.1."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from service import ROOT

MINISTACK = ROOT / ".venv-ministack" / "bin" / "python"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's server; gives its address."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("bucket_server.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(20)


@contextlib.contextmanager
def ministack_server(directory: Path) -> Iterator[str]:
    """Run ministack, which has a virtual environment of its own; gives its address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    env = {"PATH": os.environ["PATH"], "GATEWAY_PORT": str(port), "SERVICES": "s3", "TMPDIR": str(directory)}
    process = subprocess.Popen(
        [MINISTACK, "-m", "hypercorn", "ministack.app:app", "--bind", f"127.0.0.1:{port}"],
        cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _answers(address):
            assert process.poll() is None, "ministack ended"
            assert time.monotonic() < deadline, "ministack does not answer"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except OSError:
        return False


def make_bucket(address: str, name: str) -> None:
    """Neither server looks at who asks."""
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{name}", method="PUT"), timeout=10):
        pass
