"""Training runs inside the service: one at a time, each in a fresh child process, each with a recorded outcome.

A second ask gets the running job. Whatever happens to the child (a crash, a kill, a hang, no memory) ends as an outcome
with a reason, and the next run starts from a fresh pool: a dead worker breaks its pool for good.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import structlog

from recsys.artifacts.version import Version
from recsys.errors import AnotherTrainsError, JobEndedError, RecsysError, UnknownJobError
from recsys.jobs.ledger import Job, Ledger
from recsys.jobs.turns import Turns
from recsys.training import worker
from recsys.training.plan import TrainingPlan

_POLL_S = 0.05
_CHILD_STARTS_WITHIN_S = 10.0
_log = structlog.get_logger(__name__)


class _ChildError(Exception):
    """What the child raised or returned that no training run should: never to be taken for an error of ours."""


@dataclass(frozen=True)
class RunLimits:
    """What one run may take. `memory_mb` bounds the child's address space beyond what its libraries map."""

    timeout_s: float
    memory_mb: int
    blas_threads: int


class Retrainer:
    """Owns the running job and its child process. `close` ends both."""

    def __init__(
        self,
        turns: Turns,
        ledger: Ledger,
        limits: RunLimits,
        *,
        on_change: Callable[[Job], None] = lambda job: None,
        work: Callable[[TrainingPlan], worker.Finished] = worker.run,
    ) -> None:
        self._turns = turns
        self._ledger = ledger
        self._limits = limits
        self._on_change = on_change
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._cancelled_by: str | None = None
        self.jobs: list[Job] = []

    async def open(self) -> None:
        """Recall the runs of earlier lives; one that was cut off is shown as such."""
        self.jobs = await asyncio.to_thread(self._ledger.load)

    @property
    def running(self) -> Job | None:
        return self.jobs[-1] if self.jobs and not self.jobs[-1].ended else None

    @property
    def last(self) -> Job | None:
        """The last run that ended."""
        return next((job for job in reversed(self.jobs) if job.ended), None)

    def find(self, job_id: str) -> Job:
        """Errors: UnknownJobError."""
        for job in self.jobs:
            if job.id == job_id:
                return job
        raise UnknownJobError(f"there is no job {job_id!r}")

    def ask(self, because: str, *, due: datetime | None = None, patient: bool = False) -> tuple[Job, bool]:
        """Start a run, or return the one in progress; the flag says whether it is new. `due` and `patient` are of
        `Job`.
        """
        if self.running is not None:
            return self.running, False
        job = Job(
            id=f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(3).hex()}",
            asked_because=because,
            due=due,
            patient=patient,
        )
        self.jobs = [*self.jobs[-199:], job]
        self._cancelled_by = None
        self._task = asyncio.create_task(self._run(job), name=f"retrain-{job.id}")
        return job, True

    async def cancel(self, job_id: str, because: str) -> Job:
        """End a running job and its child. Errors: UnknownJobError, JobEndedError."""
        job = self.find(job_id)
        if job.ended or self._task is None:
            raise JobEndedError(f"job {job_id} has ended already: {job.status}")
        await self._end_task(because)
        return job

    async def close(self) -> None:
        """End the running job, and its child with it; wait until the end of one that is over is written."""
        if self.running is not None:
            await self._end_task("the service is stopping")
        elif self._task is not None:
            await asyncio.wait([self._task])

    async def _end_task(self, because: str) -> None:
        task = self._task
        if task is None or task.done():
            return
        if self._cancelled_by is None:  # a second cancellation would break off the wait for the child
            self._cancelled_by = because
            await asyncio.sleep(0)  # a task that is cancelled before its first step ends without a record
            task.cancel()
        await asyncio.wait([task])

    async def _run(self, job: Job) -> None:
        _log.info("training started", job_id=job.id, because=job.asked_because)
        try:
            await self._record(job, status="running")
            async with self._turns(job) as turn:
                finished = await self._in_child(job, turn.plan)
                if finished.accepted:
                    await turn.publish(Version.parse(finished.version))
            _conclude(job, finished)
        except TimeoutError:
            job.end("timed_out", f"took longer than {self._limits.timeout_s:g} s (RECSYS_RETRAINING__TIMEOUT_S)")
        except asyncio.CancelledError:
            job.end("cancelled", self._cancelled_by or "the service is stopping")
        except AnotherTrainsError as error:
            job.end("cancelled", error.detail)
        except BrokenProcessPool:
            job.end("failed", "the training process died: it was killed, or the machine ran out of memory")
        except MemoryError:
            job.end("failed", f"needs more than {self._limits.memory_mb} MB (RECSYS_RETRAINING__MEMORY_LIMIT_MB)")
        except RecsysError as error:
            job.end("failed", str(error))
        except _ChildError as error:
            _log.error("training failed in a way nobody foresaw", job_id=job.id, exc_info=error.__cause__)
            job.end("failed", str(error))
        except Exception as error:
            _log.exception("training failed in a way nobody foresaw", job_id=job.id)
            job.end("failed", f"{type(error).__name__}: {error}")
        _log.info("training ended", job_id=job.id, status=job.status, reason=job.reason, version=job.model_version)
        await self._record(job)
        self._tell(job)

    def _tell(self, job: Job) -> None:
        """Tell the listener; one that fails must not leave a job that never ends."""
        try:
            self._on_change(job)
        except Exception:
            _log.exception("the listener to training runs failed", job_id=job.id)

    async def _record(self, job: Job, status: Any = None) -> None:
        """Write the job to the ledger. A ledger that cannot be written does not keep anybody from training."""
        job.status = status or job.status
        self._tell(job)
        try:
            await asyncio.to_thread(self._ledger.record, job)
        except (OSError, TypeError) as error:  # TypeError: the child returned what is no JSON
            _log.warning("the ledger cannot be written", path=str(self._ledger.path), reason=str(error))

    async def _in_child(self, job: Job, plan: TrainingPlan) -> worker.Finished:
        """Run the plan in a fresh single-worker pool and wait for it, no longer than the time limit."""
        from_child, to_parent = multiprocessing.Pipe(duplex=False)
        pool = ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            # without a model there is nothing to serve, and whoever asks waits for this run
            initializer=partial(worker.prepare, behind_the_server=not job.patient),
            initargs=(to_parent, self._limits.blas_threads, self._limits.memory_mb),
        )
        # in a thread: starting a process is a few milliseconds that the loop does not have
        submitted = asyncio.ensure_future(asyncio.to_thread(pool.submit, self._work, plan))
        child: int | None = None
        try:
            future = await asyncio.shield(submitted)
            async with asyncio.timeout(self._limits.timeout_s):
                # polled, not awaited: asyncio's future cannot hold every error that a process can raise
                while not future.done():
                    await asyncio.sleep(_POLL_S)
                    for message in _drain(from_child):
                        match message:
                            case worker.Started(pid):
                                child = pid
                            case worker.Progress(stage, share):
                                job.stage, job.progress = stage, share
                                self._tell(job)
            return _outcome(future)
        finally:
            await asyncio.shield(asyncio.ensure_future(self._end_child(pool, submitted, from_child, to_parent, child)))

    async def _end_child(
        self,
        pool: ProcessPoolExecutor,
        submitted: "asyncio.Future[Any]",
        from_child: Connection,
        to_parent: Connection,
        child: int | None,
    ) -> None:
        """See that the child is gone: let one that is done go, and kill one that is not, by its own pid."""
        await asyncio.wait([submitted])
        if submitted.exception() is None and not submitted.result().done():
            deadline = asyncio.get_running_loop().time() + _CHILD_STARTS_WITHIN_S
            while child is None and asyncio.get_running_loop().time() < deadline:
                child = next((m.pid for m in _drain(from_child) if isinstance(m, worker.Started)), None)
                if child is None:
                    await asyncio.sleep(_POLL_S)
            if child is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        to_parent.close()
        from_child.close()
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)


def _outcome(future: "Future[worker.Finished]") -> worker.Finished:
    """Return what the child made. What it raised comes as a `_ChildError`, unless it is one that has a meaning here: a
    SystemExit of the child would else end the service, its TimeoutError pass for the time limit.
    """
    error = future.exception()
    if isinstance(error, BrokenProcessPool | MemoryError | RecsysError):
        raise error
    if error is not None:
        raise _ChildError(f"{type(error).__name__}: {error}") from error
    finished = future.result()
    if not isinstance(finished, worker.Finished):
        raise _ChildError(f"the training process returned {type(finished).__name__}")
    return finished


def _conclude(job: Job, finished: worker.Finished) -> None:
    job.model_version, job.metrics, job.checks = finished.version, finished.metrics, finished.checks
    failed = [check["name"] for check in finished.checks if not check["passed"]]
    if finished.accepted:
        job.end("accepted", None)
    else:
        job.end("rejected", f"the gate refused it: {', '.join(failed)}")


def _drain(pipe: Connection) -> Iterator[Any]:
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError):
        return
