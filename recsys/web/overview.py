"""Everything the operator's page shows, in one answer, so that after a lost connection one question puts it right.

Only looks. Traffic is what the metrics say, sampled: no request pays for it.
"""

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from aiohttp import web

from recsys.artifacts.manifest import Manifest, format_time
from recsys.artifacts.store import ModelStore
from recsys.feedback.live import LiveFeedback
from recsys.jobs.retrain import Retrainer
from recsys.web.admin import AdminRoutes
from recsys.web.answers import json_response
from recsys.web.health import HealthRoutes
from recsys.web.telemetry import Telemetry, Totals

_EVERY_S = 10.0
_SAMPLES = 361
_HOUR_S = 3600
_HOURS = 24
_JOBS = 10
_ACTIONS = 50
#: How the best model of a version is told from what it is held against.
_BASELINE = "popularity"


@dataclass(frozen=True)
class Traffic:
    """The metrics at a moment. Differences of two say what happened between them."""

    at: float
    totals: Totals


class OverviewRoutes:
    """One handler, and the task that samples."""

    def __init__(
        self,
        admin: AdminRoutes,
        health: HealthRoutes,
        store: ModelStore,
        retrainer: Retrainer,
        telemetry: Telemetry,
        feedback: LiveFeedback,
    ) -> None:
        self._admin = admin
        self._health = health
        self._store = store
        self._retrainer = retrainer
        self._telemetry = telemetry
        self._feedback = feedback
        self._samples: deque[Traffic] = deque(maxlen=_SAMPLES)

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self._samples.append(self._now())
            await asyncio.sleep(_EVERY_S)

    def _now(self) -> Traffic:
        return Traffic(time.monotonic(), self._telemetry.totals())

    async def overview(self, request: web.Request) -> web.Response:
        """Give everything that the operator's page shows."""
        content = {
            "at": format_time(datetime.now(UTC)),
            "health": self._health.describe(),
            "models": await self._admin.describe_models(),
            "measured": await asyncio.to_thread(self._measured),
            "jobs": [job.as_dict() for job in reversed(self._retrainer.jobs[-_JOBS:])],
            "traffic": self._traffic(),
            "ratings_per_hour": await asyncio.to_thread(self._ratings_per_hour),
            "memory_mb": round(_resident_bytes() / 2**20, 1),
            "loop_lag_ms": round(self._telemetry.loop_lag.longest_s * 1e3, 1),
            "actions": list(self._admin.actions)[:_ACTIONS],
        }
        return json_response(content)

    def _measured(self) -> list[dict[str, Any]]:
        """Each version's metrics and checks, oldest first."""
        entries = self._store.scan().entries
        return [_measures(entry.manifest) for entry in entries if entry.manifest is not None]

    def _traffic(self) -> dict[str, Any]:
        """Rates and times of the API's answers over the last minute, and requests and errors by minute."""
        now = self._now()
        minute = next((one for one in self._samples if now.at - one.at <= 60 + _EVERY_S), now)
        before, totals = minute.totals, now.totals
        seconds = max(now.at - minute.at, 1.0)
        counts = [
            new - old for new, old in zip(totals.buckets, before.buckets or (0,) * len(totals.buckets), strict=True)
        ]
        by_minute, newer = [], now
        for older in list(self._samples)[::-6]:
            if newer.at - older.at >= 1:
                found = newer.totals
                by_minute.append(
                    {"requests": found.requests - older.totals.requests, "errors": found.errors - older.totals.errors}
                )
                newer = older
        return {
            "per_second": round((totals.requests - before.requests) / seconds, 2),
            "errors_per_minute": round((totals.errors - before.errors) * 60 / seconds, 2),
            "requests": totals.requests,
            "errors": totals.errors,
            "p50_ms": quantile_ms(counts, totals.bounds, 0.5),
            "p99_ms": quantile_ms(counts, totals.bounds, 0.99),
            "by_minute": by_minute[::-1],
        }

    def _ratings_per_hour(self) -> list[dict[str, Any]]:
        """How many ratings bear a time of each of the last hours. Cost: O(events), in a thread."""
        now = self._feedback.clock()
        first = (int(now) // _HOUR_S - _HOURS + 1) * _HOUR_S
        edges = first + _HOUR_S * np.arange(_HOURS + 1)
        counts = np.zeros(_HOURS, np.int64)
        for block in self._feedback.overlay.blocks():
            counts += np.histogram(block.timestamps[~np.isnan(block.values)], edges)[0]
        return [
            {"hour": format_time(datetime.fromtimestamp(int(edge), UTC)), "ratings": int(count)}
            for edge, count in zip(edges[:-1], counts, strict=True)
        ]


def quantile_ms(counts: list[float], bounds: tuple[float, ...], share: float) -> float | None:
    """The time within which `share` of the answers came, in ms, from how many fell up to each of `bounds` (seconds,
    the last one open); None without an answer. Between two bounds it is taken to be even.
    """
    total = sum(counts)
    if total <= 0:
        return None
    reached, low = 0.0, 0.0
    for count, high in zip(counts, bounds, strict=True):
        if count and reached + count >= share * total:
            top = high if high != float("inf") else low
            return round((low + (top - low) * (share * total - reached) / count) * 1e3, 2)
        reached, low = reached + count, high
    return round(low * 1e3, 2)


def _measures(manifest: Manifest) -> dict[str, Any]:
    """The metrics of the version's own model and of popularity, each with its interval."""
    models = manifest.metrics.get("models")
    models = models if isinstance(models, dict) else {}
    own = next((name for name in models if name != _BASELINE), _BASELINE)
    return {
        "version": manifest.version,
        "created_at": format_time(manifest.created_at),
        "headline": str(manifest.metrics.get("headline", "")),
        "metrics": models.get(own) or {},
        "baseline": models.get(_BASELINE) or {},
        "checks": [check.model_dump(mode="json") for check in manifest.gate.checks],
    }


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
