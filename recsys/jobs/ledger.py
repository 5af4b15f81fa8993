"""The record of training runs in the state directory: one JSON line when a run begins and one when it ends.

Survives a crash: a run that began and never ended is shown as cut off. Must not run anything.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import orjson
import structlog

from recsys.artifacts.files import replace_durable
from recsys.artifacts.manifest import format_time

Status = Literal["queued", "running", "accepted", "rejected", "failed", "timed_out", "cancelled"]
ENDED: frozenset[Status] = frozenset({"accepted", "rejected", "failed", "timed_out", "cancelled"})
CUT_OFF = "cut off: the service ended while it ran"
_KEPT_JOBS = 200
_log = structlog.get_logger(__name__)


@dataclass
class Job:
    """One training run: where it is, or how it ended and why. `due` is when a schedule wanted it; a `patient` one makes
    a first model: it waits for its turn, and is not needed any more once somebody else has had theirs.
    """

    id: str
    asked_because: str
    status: Status = "queued"
    stage: str = "start"
    progress: float = 0.0
    reason: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    model_version: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None
    due: datetime | None = None
    patient: bool = False

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def end(self, status: Status, reason: str | None) -> None:
        self.status, self.reason, self.ended_at = status, reason, datetime.now(UTC)
        if status in ("accepted", "rejected"):
            self.progress = 1.0

    def as_dict(self) -> dict[str, Any]:
        """The job as the API and the ledger show it."""
        return {
            "job_id": self.id,
            "asked_because": self.asked_because,
            "status": self.status,
            "stage": self.stage,
            "progress": round(self.progress, 3),
            "reason": self.reason,
            "metrics": self.metrics,
            "checks": self.checks,
            "model_version": self.model_version,
            "created_at": format_time(self.created_at),
            "ended_at": format_time(self.ended_at) if self.ended_at else None,
        }

    def summary(self) -> dict[str, Any]:
        """The job in a few words, for `/health`."""
        return {name: value for name, value in self.as_dict().items() if name not in ("metrics", "checks")}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> "Job":
        """Read a job back. Errors: KeyError, TypeError, ValueError for what is no job."""
        if found["status"] not in get_args(Status):
            raise ValueError(f"{found['status']!r} is no status")
        created_at, ended_at = datetime.fromisoformat(found["created_at"]), found["ended_at"]
        if created_at.tzinfo is None:
            raise ValueError("a time without a zone cannot be compared with others")
        return cls(
            id=str(found["job_id"]),
            asked_because=str(found["asked_because"]),
            status=found["status"],
            stage=str(found["stage"]),
            progress=float(found["progress"]),
            reason=found["reason"],
            metrics=dict(found["metrics"]),
            checks=list(found["checks"]),
            model_version=found["model_version"],
            created_at=created_at,
            ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        )


class Ledger:
    """The file of jobs. Its methods block for a disk write: call them in a thread."""

    def __init__(self, state: Path) -> None:
        self.path = state / "jobs.jsonl"
        self._one_at_a_time = threading.Lock()

    def load(self) -> list[Job]:
        """Return the last jobs, oldest first, those that were cut off ended as such, and rewrite the file with them.

        A file that cannot be read or written is logged: the past is no reason not to start.
        """
        jobs: dict[str, Job] = {}
        for line in self._lines():
            try:
                job = Job.from_dict(orjson.loads(line))
            except (KeyError, TypeError, ValueError):
                continue  # the half line of a crash; the job's first line stands before it
            jobs[job.id] = job
        kept = list(jobs.values())[-_KEPT_JOBS:]
        for job in kept:
            if not job.ended:
                job.end("failed", CUT_OFF)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_durable(self.path, _encode(kept))
        except OSError as error:
            _log.warning("the ledger cannot be written", path=str(self.path), reason=error.strerror)
        return kept

    def _lines(self) -> list[bytes]:
        try:
            return self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            _log.warning("the ledger cannot be read", path=str(self.path), reason=error.strerror)
            return []

    def record(self, job: Job) -> None:
        """Append a job as it is now, and wait until it is on disk."""
        with self._one_at_a_time, self.path.open("ab") as file:  # so that a job's last line is its latest
            file.write(_encode([job]))
            file.flush()
            os.fsync(file.fileno())


def _encode(jobs: Iterable[Job]) -> bytes:
    return b"".join(orjson.dumps(job.as_dict()) + b"\n" for job in jobs)
