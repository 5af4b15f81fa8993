"""Retraining back to back under load at half the saturation rate, beside the same load without, by turns.

Each run that ends is followed by the next at once, and each accepted version is swapped in, so this holds the child
process, the swap and the pruning against the viewers' answers.
"""

import http.client
import json
import threading
import time
from dataclasses import dataclass, field

import numpy as np

from benchmarks.client import Job, Outcome
from benchmarks.processes import Server
from benchmarks.world import Row, World, copy_version, median, percentile, recommendations_of

_CONNECTIONS = 32
_ASK_AGAIN_S = 0.1


@dataclass
class _Operator:
    """Asks for a run whenever none is under way, while `active` is set. Ends when `ended` is."""

    server: Server
    token: str
    active: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    asked: set[str] = field(default_factory=set)

    def work(self) -> None:
        while not self.ended.is_set():
            if self.active.is_set():
                self.asked.add(str(self.call("POST", "/admin/retrain")["job_id"]))
            time.sleep(_ASK_AGAIN_S)

    def call(self, method: str, path: str) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
            return dict(json.loads(connection.getresponse().read()))
        finally:
            connection.close()

    def wait_idle(self) -> None:
        while json.loads(self.server.ask("/health")[1])["retraining"]["running"] is not None:
            time.sleep(_ASK_AGAIN_S)


def run(world: World) -> list[Row]:
    models = world.directory / "models-retrain"
    models.mkdir()
    copy_version(world.trained() / "v1.0.0", models / "v1.0.0", "v1.0.0")
    server = world.processes.recsys(models)
    token = (server.state / "admin-token").read_text().strip()
    world.client.keep("users of retraining", recommendations_of(world.users()))
    operator = _Operator(server, token)
    thread = threading.Thread(target=operator.work, daemon=True)
    thread.start()
    quiet: list[Outcome] = []
    busy: list[Outcome] = []
    rates: list[float] = []
    blocks, seconds = (2, 4.0) if world.quick else (6, 8.0)
    try:
        for block in range(blocks):
            rate = world.client.run(Job(server.port, "users of retraining", 1.0, _CONNECTIONS, 0)).rate / 2
            rates.append(rate)
            world.say(f"retrain: block {block + 1} of {blocks}, {rate:.0f} requests/s")
            job = Job(server.port, "users of retraining", seconds, _CONNECTIONS, block * 101, rate)
            for is_quiet in (True, False) if block % 2 == 0 else (False, True):
                if is_quiet:
                    quiet.append(world.client.run(job))
                else:
                    operator.active.set()
                    busy.append(world.client.run(job))
                    operator.active.clear()
                    operator.wait_idle()
    finally:
        operator.ended.set()
        thread.join()
    jobs = operator.call("GET", "/admin/jobs")["items"]
    server.stop()
    return [_row(quiet, busy, median(rates), jobs)]


def _row(quiet: list[Outcome], busy: list[Outcome], rate: float, jobs: object) -> Row:
    failed = sum(outcome.failed for outcome in quiet + busy)
    (quiet_p50, quiet_p99), (busy_p50, busy_p99) = (
        [percentile(np.concatenate([np.asarray(o.latencies_ms) for o in side]), share) for share in (50, 99)]
        for side in (quiet, busy)
    )
    statuses = [job["status"] for job in jobs] if isinstance(jobs, list) else []
    return Row(
        "retrain",
        "latency at half the saturation rate",
        {
            "runs": len(statuses),
            "accepted": statuses.count("accepted"),
            "requests_s": round(rate),
            "p50_ms": round(busy_p50, 2),
            "p99_ms": round(busy_p99, 2),
            "quiet_p50_ms": round(quiet_p50, 2),
            "quiet_p99_ms": round(quiet_p99, 2),
            "p99_ratio": round(busy_p99 / quiet_p99, 2),
            "failed": failed,
        },
        "p99 <= 2 x that without, 0 failed",
        busy_p99 <= 2 * quiet_p99 and failed == 0,
    )
