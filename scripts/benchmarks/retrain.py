"""Retraining back to back under load at half the saturation rate, beside the same load without, by turns.

Each run that ends is followed by the next at once, and each accepted version is swapped in, so this holds the child
process, the swap and the pruning against the viewers' answers.
"""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.beside import Pair, latencies, measure
from benchmarks.client import Job, Outcome
from benchmarks.processes import Server
from benchmarks.world import Row, World, copy_version, median, recommendations_of

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
    rates: list[float] = []
    blocks, seconds = (2, 4.0) if world.quick else (6, 8.0)

    def retraining(job: Job) -> Outcome:
        operator.active.set()
        outcome = world.client.run(job)
        operator.active.clear()
        operator.wait_idle()
        return outcome

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        rates.append(world.client.run(Job(server.port, "users of retraining", 1.0, _CONNECTIONS, 0)).rate / 2)
        world.say(f"retrain: block {number + 1}, {rates[-1]:.0f} requests/s")
        job = Job(server.port, "users of retraining", seconds, _CONNECTIONS, number * 101, rates[-1])
        return lambda: world.client.run(job), lambda: retraining(job)

    try:
        pairs = measure(blocks, block)
    finally:
        operator.ended.set()
        thread.join()
    jobs = operator.call("GET", "/admin/jobs")["items"]
    server.stop()
    return [_row(pairs, median(rates), jobs)]


def _row(pairs: Sequence[Pair], rate: float, jobs: object) -> Row:
    failed = sum(pair.quiet.failed + pair.busy.failed for pair in pairs)
    said, ratio = latencies(pairs)
    statuses = [job["status"] for job in jobs] if isinstance(jobs, list) else []
    return Row(
        "retrain",
        "latency at half the saturation rate",
        {
            "runs": len(statuses),
            "accepted": statuses.count("accepted"),
            "requests_s": round(rate),
            "failed": failed,
        }
        | said,
        "p99 <= 2 x that without, median of the blocks, 0 failed",
        ratio <= 2 and failed == 0,
    )
