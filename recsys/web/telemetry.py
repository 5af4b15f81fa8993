"""Metrics for Prometheus: what is measured, by which names, and how cheaply.

One registry for each app. The child of a histogram is looked up once for each route and status, not for each request.
"""

import asyncio
import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from recsys import __version__
from recsys.feedback.changes import Shown
from recsys.jobs.ledger import Job
from recsys.jobs.tie import SyncState
from recsys.serving.served import ServedModel

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_API = "/api/"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Totals:
    """What the API answered since the start. `buckets` count the answers that took up to each of `bounds` (seconds) and
    longer than the one before.
    """

    requests: int
    errors: int
    bounds: tuple[float, ...]
    buckets: tuple[float, ...]


class Telemetry:
    """The metrics of one app."""

    def __init__(self, state: Path | None = None) -> None:
        """`state` is where ratings are kept: what room its file system has is measured whenever somebody asks."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Histogram(
            "recsys_http_request_seconds",
            "Time to answer, by route, method and status",
            ("route", "method", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self.in_flight = 0
        in_flight = Gauge("recsys_http_requests_in_flight", "Requests being answered", registry=self.registry)
        in_flight.set_function(lambda: self.in_flight)
        self.swaps = Counter("recsys_model_swaps", "Models taken into service", registry=self.registry)
        self._model = Gauge("recsys_model_info", "The version that answers", ("version",), registry=self.registry)
        self._loaded = Gauge(
            "recsys_model_loaded_timestamp_seconds", "When it was taken into service", registry=self.registry
        )
        self._created = Gauge(
            "recsys_model_created_timestamp_seconds", "When its training began", registry=self.registry
        )
        self.trainings = Counter(
            "recsys_training_runs", "Training runs by outcome", ("status",), registry=self.registry
        )
        self._last_training = Gauge(
            "recsys_training_last_timestamp_seconds", "End of the last run", ("status",), registry=self.registry
        )
        self._gate = Gauge("recsys_gate_check_passed", "The last run's checks", ("check",), registry=self.registry)
        self._gate_value = Gauge("recsys_gate_check_value", "What they saw", ("check",), registry=self.registry)
        self.quarantined = Gauge("recsys_models_quarantined", "Versions that cannot be served", registry=self.registry)
        self.degraded = Gauge("recsys_degraded", "1 while not serving as wished", registry=self.registry)
        ratings = Counter("recsys_ratings", "Ratings on disk, by outcome", ("outcome",), registry=self.registry)
        self._accepted, self._duplicates = ratings.labels("accepted"), ratings.labels("duplicate")
        self.waiting_ratings = Gauge(
            "recsys_ratings_waiting", "Ratings that wait to be written", registry=self.registry
        )
        self._shown = Counter(
            "recsys_shown",
            "What became of what was recommended",
            ("model_version", "strategy", "kind"),
            registry=self.registry,
        )
        self.sync = SyncMetrics(self.registry)
        self.loop_lag = LoopLag()
        lag = Gauge(
            "recsys_event_loop_lag_seconds", "Longest that the event loop was late in a minute", registry=self.registry
        )
        lag.set_function(lambda: self.loop_lag.longest_s)
        if state is not None:
            size = Gauge("recsys_disk_size_bytes", "File system of the state directory", registry=self.registry)
            size.set_function(lambda: _disk(state)[0])
            free = Gauge("recsys_disk_free_bytes", "Room left there", registry=self.registry)
            free.set_function(lambda: _disk(state)[1])
        build = Gauge("recsys_build_info", "This software", ("version",), registry=self.registry)
        build.labels(__version__).set(1)

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        key = (route, method, status)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._requests.labels(route, method, str(status))
        child.observe(seconds)

    def totals(self) -> Totals:
        """Sum the API's routes up. Errors are answers of 500 and above. Cost: O(routes), about a millisecond."""
        bounds = (*_BUCKETS, float("inf"))
        buckets, errors = [0.0] * len(bounds), 0
        for (route, _, status), child in list(self._children.items()):
            if not route.startswith(_API):
                continue
            below = 0.0
            for sample in next(iter(child.collect())).samples:
                if sample.name.endswith("_bucket"):
                    place = bounds.index(float(sample.labels["le"]))
                    buckets[place] += sample.value - below
                    below = sample.value
            errors += int(below) if status >= 500 else 0
        return Totals(int(sum(buckets)), errors, bounds, tuple(buckets))

    def model_swapped(self, model: ServedModel) -> None:
        self.swaps.inc()
        self._model.clear()
        self._model.labels(model.version).set(1)
        self._loaded.set(model.loaded_at.timestamp())
        self._created.set(model.servable.manifest.created_at.timestamp())

    def job_ended(self, job: Job) -> None:
        self.trainings.labels(job.status).inc()
        self._last_training.labels(job.status).set(time.time())
        for check in job.checks:
            self._gate.labels(check["name"]).set(1 if check["passed"] else 0)
            if check["value"] is not None:
                self._gate_value.labels(check["name"]).set(check["value"])

    def recall(self, jobs: Sequence[Job]) -> None:
        """Take over when runs of earlier lives ended, the oldest first: an alert must not end with a restart."""
        for job in jobs:
            if job.ended and job.ended_at is not None:
                self._last_training.labels(job.status).set(job.ended_at.timestamp())

    def ratings_kept(self, accepted: int, duplicates: int) -> None:
        if accepted:  # adding nothing costs as much as adding
            self._accepted.inc(accepted)
        if duplicates:
            self._duplicates.inc(duplicates)

    def shown(self, shown: Sequence[Shown]) -> None:
        for one in shown:
            self._shown.labels(one.model_version, one.strategy, one.kind).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)


def _disk(directory: Path) -> tuple[float, float]:
    """Return size and room left in bytes; not numbers where they cannot be had."""
    try:
        usage = shutil.disk_usage(directory)
    except OSError:
        return math.nan, math.nan
    return usage.total, usage.free


class SyncMetrics:
    """How the service stands with its bucket. Without one all are 0."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reachable = Gauge("recsys_sync_reachable", "1 while the bucket answers", registry=registry)
        self._in_step = Gauge("recsys_sync_in_step", "1 while nothing stands against it", registry=registry)
        self._generation = Gauge("recsys_sync_pointer_generation", "Of the pointer that is followed", registry=registry)
        self._checked = Gauge(
            "recsys_sync_checked_timestamp_seconds", "When the bucket last answered", registry=registry
        )
        self._waiting = Gauge("recsys_sync_waiting", "Versions that are yet to be published", registry=registry)

    def looked(self, state: SyncState) -> None:
        self._reachable.set(1 if state.reachable else 0)
        self._in_step.set(1 if state.reachable and state.problem is None else 0)
        self._generation.set(state.pointer.generation if state.pointer else 0)
        self._checked.set(state.checked_at.timestamp() if state.checked_at else 0)
        self._waiting.set(len(state.waiting))


class LoopLag:
    """Measures how late the event loop is: it asks to be woken, and sees when it was."""

    def __init__(self, *, every_s: float = 0.05, window_s: float = 60.0) -> None:
        self._every_s = every_s
        self._window_s = window_s
        self._current = 0.0
        self._previous = 0.0

    @property
    def longest_s(self) -> float:
        """The longest lag of the last one to two windows."""
        return max(self._current, self._previous)

    def reset(self) -> None:
        self._current = self._previous = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        window_ends = time.perf_counter() + self._window_s
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(self._every_s)
            now = time.perf_counter()
            self._current = max(self._current, now - asked - self._every_s)
            if now >= window_ends:
                self._previous, self._current = self._current, 0.0
                window_ends = now + self._window_s
