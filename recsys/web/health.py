"""How the service is: for the operator at a glance, for probes, and for Prometheus."""

import asyncio
import time
from datetime import UTC
from typing import Any

from aiohttp import web

from recsys import __version__
from recsys.artifacts.manifest import format_time
from recsys.feedback.live import LiveFeedback
from recsys.jobs.retrain import Retrainer
from recsys.jobs.schedule import Schedule
from recsys.jobs.sync import Sync
from recsys.serving.slot import Slot
from recsys.serving.watcher import Watcher
from recsys.web.answers import json_response
from recsys.web.telemetry import CONTENT_TYPE, Telemetry


class HealthRoutes:
    """Handlers that only look. `stopping` is set when the service has been told to end."""

    def __init__(
        self,
        slot: Slot,
        watcher: Watcher,
        retrainer: Retrainer,
        schedule: Schedule,
        telemetry: Telemetry,
        feedback: LiveFeedback,
        sync: Sync | None,
        *,
        environment: str,
    ) -> None:
        self.stopping = False
        self._slot = slot
        self._watcher = watcher
        self._retrainer = retrainer
        self._schedule = schedule
        self._telemetry = telemetry
        self._feedback = feedback
        self._sync = sync
        self._environment = environment
        self._started = time.monotonic()

    async def health(self, request: web.Request) -> web.Response:
        """Say everything an operator wants at a glance."""
        return json_response(self.describe())

    def describe(self) -> dict[str, Any]:
        """What `/health` says."""
        model, seen = self._slot.current, self._watcher.state
        detail = self._problem()
        status = "starting" if model is None else "degraded" if detail else "ok"
        running, last, next_run = self._retrainer.running, self._retrainer.last, self._schedule.next_run
        return {
            "status": status,
            "detail": detail,
            "version": __version__,
            "environment": self._environment,
            "model_version": model.version if model else None,
            "model_loaded_at": format_time(model.loaded_at) if model else None,
            "model_because": seen.decision.because,
            "pin": str(seen.pin) if seen.pin else None,
            "quarantined": [
                {"version": name, "reason": mark.reason, "since": mark.since}
                for name, mark in sorted(seen.failed.items())
            ],
            "uptime_s": round(time.monotonic() - self._started, 3),
            "retraining": {
                "enabled": next_run is not None,
                "running": running.summary() if running else None,
                "last": last.summary() if last else None,
                "next_run": format_time(next_run.astimezone(UTC)) if next_run else None,
            },
            "feedback": {
                "enabled": self._feedback.enabled,
                "ratings": self._feedback.overlay.n_events,
                "waiting": self._feedback.waiting_rows,
                "problem": self._feedback.problem,
            },
            "sync": self._sync.state.as_dict() if self._sync else None,
        }

    def _problem(self) -> str | None:
        """The first thing that is not as wished."""
        return (
            self._watcher.state.degraded
            or self._feedback.problem
            or (self._sync.state.problem if self._sync is not None else None)
        )

    async def live(self, request: web.Request) -> web.Response:
        """Say that the process answers."""
        return json_response({"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether recommendations can be had, and if not, how far the first model is."""
        model, job = self._slot.current, self._retrainer.running
        if model is not None and not self.stopping:
            return json_response({"status": "ready", "model_version": model.version, "stage": None, "progress": None})
        response = json_response(
            {
                "status": "stopping" if self.stopping else "starting",
                "model_version": model.version if model else None,
                "stage": job.stage if job else "load",
                "progress": round(job.progress, 3) if job else None,
            },
            status=503,
        )
        response.headers["Retry-After"] = "2"
        return response

    async def metrics(self, request: web.Request) -> web.Response:
        """Give Prometheus its text."""
        self._telemetry.quarantined.set(len(self._watcher.state.failed))
        self._telemetry.degraded.set(1 if self._problem() else 0)
        if self._sync is not None:
            self._telemetry.sync.looked(self._sync.state)
        self._telemetry.waiting_ratings.set(self._feedback.waiting_rows)
        # a few milliseconds of text, which the loop does not have
        text = await asyncio.to_thread(self._telemetry.render)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})
