"""Watching processes and what they leave: small data, an operator's calls, and /proc."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from service import Answer, ServerProcess

TOKEN = "the-token-of-these-tests"
ENDED = {"accepted", "rejected", "failed", "timed_out", "cancelled"}


def write_ratings(path: Path, *, n_users: int = 60, n_items: int = 60) -> Path:
    """Write ratings with two tastes, so that there is something to learn that popularity does not know."""
    dice = random.Random(7)
    lines = ["userId,movieId,rating,timestamp"]
    for user in range(n_users):
        liked = list(range(user % 2, n_items, 2))
        lines += [f"{user},{item},5,{when}" for when, item in enumerate(dice.sample(liked, 16))]
    temporary = path.with_suffix(".part")
    temporary.write_text("\n".join(lines) + "\n")
    os.replace(temporary, path)
    return path


def admin(server: ServerProcess, path: str, method: str = "GET", body: Any = None) -> Answer:
    return server.request(f"/admin{path}", method=method, body=body, headers={"Authorization": f"Bearer {TOKEN}"})


def retrain(server: ServerProcess) -> str:
    return str(admin(server, "/retrain", "POST").json["job_id"])


def job(server: ServerProcess, job_id: str) -> Any:
    return admin(server, f"/jobs/{job_id}").json


def wait_ended(server: ServerProcess, job_id: str) -> Any:
    server.wait_for(lambda: job(server, job_id)["status"] in ENDED, "ended", 60)
    return job(server, job_id)


def wait_idle(server: ServerProcess) -> None:
    """A version may be served a moment before the run that made it is on record as ended."""
    server.wait_for(lambda: server.request("/health").json["retraining"]["running"] is None, "idle", 60)


def eventually(condition: Callable[[], bool], timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def processes_marked(mark: str) -> set[int]:
    """The living processes that inherited this mark in their environment, whoever their parent is now."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark.encode() in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def is_living(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children_of(pid: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.add(int(entry.name))
            except OSError:
                continue
    return found
