"""Training runs inside the service: one at a time, each in a fresh child process, each with a recorded outcome.

A second ask gets the running job. Whatever happens to the child (a crash, a kill, a hang) ends as an outcome with a
reason, and the next run starts from a fresh pool: a dead worker breaks its pool for good.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from typing import Any, Literal

import structlog

from recsys.errors import RecsysError
from recsys.training import worker
from recsys.training.plan import TrainingPlan

Status = Literal["queued", "running", "accepted", "rejected", "failed", "timed_out", "cancelled"]
ENDED: frozenset[Status] = frozenset({"accepted", "rejected", "failed", "timed_out", "cancelled"})
_KEPT_JOBS = 100
_POLL_S = 0.05
_log = structlog.get_logger(__name__)


@dataclass
class Job:
    """One training run: where it is, or how it ended and why."""

    id: str
    asked_because: str
    status: Status = "queued"
    stage: str = "start"
    progress: float = 0.0
    reason: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    model_version: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def end(self, status: Status, reason: str | None) -> None:
        self.status, self.reason, self.ended_at = status, reason, datetime.now(UTC)
        if status == "accepted":
            self.progress = 1.0


class Retrainer:
    """Owns the running job and its child process. `close` ends both."""

    def __init__(
        self,
        plan: Callable[[], TrainingPlan],
        *,
        timeout_s: float,
        blas_threads: int,
        on_end: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self._plan = plan
        self._timeout_s = timeout_s
        self._blas_threads = blas_threads
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self.jobs: deque[Job] = deque(maxlen=_KEPT_JOBS)

    @property
    def running(self) -> Job | None:
        return self.jobs[-1] if self.jobs and not self.jobs[-1].ended else None

    @property
    def last(self) -> Job | None:
        """The last run that ended."""
        return next((job for job in reversed(self.jobs) if job.ended), None)

    def ask(self, because: str) -> tuple[Job, bool]:
        """Start a run, or return the one in progress; the flag says whether it is new."""
        if self.running is not None:
            return self.running, False
        job = Job(id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(3).hex()}", asked_because=because)
        self.jobs.append(job)
        self._task = asyncio.create_task(self._run(job), name=f"retrain-{job.id}")
        return job, True

    async def close(self) -> None:
        """End the running job, and its child with it."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self, job: Job) -> None:
        job.status = "running"
        _log.info("training started", job_id=job.id, because=job.asked_because)
        try:
            finished = await self._in_child(job)
        except TimeoutError:
            job.end("timed_out", f"took longer than {self._timeout_s:g} s (RECSYS_TRAINING__TIMEOUT_S)")
        except asyncio.CancelledError:
            job.end("cancelled", "the service is stopping")
            raise
        except BrokenProcessPool:
            job.end("failed", "the training process died (killed, or out of memory)")
        except RecsysError as error:
            job.end("failed", str(error))
        except Exception as error:
            _log.exception("training failed in a way nobody foresaw", job_id=job.id)
            job.end("failed", f"{type(error).__name__}: {error}")
        else:
            job.model_version, job.metrics = finished.version, finished.metrics
            if finished.accepted:
                job.end("accepted", None)
            else:
                job.end("rejected", f"the gate refused it: {', '.join(finished.failed_checks)}")
        finally:
            _log.info(
                "training ended",
                job_id=job.id,
                status=job.status,
                reason=job.reason,
                version=job.model_version,
            )
            self._on_end(job)

    async def _in_child(self, job: Job) -> worker.Finished:
        """Run the plan in a fresh single-worker pool and wait for it, no longer than the time limit."""
        from_child, to_parent = multiprocessing.Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=worker.prepare,
            initargs=(to_parent, self._blas_threads),
        )
        child: int | None = None
        # in a thread: starting a process is a few milliseconds that the loop does not have
        future = asyncio.wrap_future(await asyncio.to_thread(pool.submit, worker.run, self._plan()))
        to_parent.close()
        try:
            async with asyncio.timeout(self._timeout_s):
                while not future.done():
                    await asyncio.wait([future], timeout=_POLL_S)
                    for message in _drain(from_child):
                        match message:
                            case worker.Started(pid):
                                child = pid
                            case worker.Progress(stage, share):
                                job.stage, job.progress = stage, share
            return await future
        finally:
            if not future.done():
                await asyncio.shield(self._end_child(from_child, child))
                with contextlib.suppress(BaseException):
                    await future
            from_child.close()
            await asyncio.to_thread(pool.shutdown, wait=True)

    async def _end_child(self, from_child: Connection, child: int | None) -> None:
        """Kill the child by its own pid, waiting for it to say which that is if it is only just starting."""
        for _ in range(int(5 / _POLL_S)):
            if child is not None:
                break
            await asyncio.sleep(_POLL_S)
            child = next((m.pid for m in _drain(from_child) if isinstance(m, worker.Started)), None)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def _drain(pipe: Connection) -> Iterator[Any]:
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError):
        return
