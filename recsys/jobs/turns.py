"""Whose turn it is to train. Alone it is always ours; with a bucket, the lease says so, and what comes of it is
published.

Holds the lease from before a run until its version is published, renews it meanwhile, and ends the run when it is lost.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from recsys.artifacts.bucket import Sleep
from recsys.artifacts.version import Version
from recsys.errors import AnotherTrainsError, BucketError
from recsys.jobs.lease import Lease
from recsys.jobs.ledger import Job
from recsys.jobs.publishing import Publisher
from recsys.training.plan import TrainingPlan

_LOOKS_A_LEASE = 4
_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Turn:
    """A run that may begin: what it is to do, and what to call with an accepted version."""

    plan: TrainingPlan
    publish: Callable[[Version], Awaitable[None]]


Turns = Callable[[Job], AbstractAsyncContextManager[Turn]]


def alone(plan: Callable[[], TrainingPlan]) -> Turns:
    """Turns without a bucket."""

    async def nothing(version: Version) -> None:
        return

    @asynccontextmanager
    async def turn(job: Job) -> AsyncIterator[Turn]:
        yield Turn(plan(), nothing)

    return turn


class SharedTurns:
    """Turns among the services of one bucket."""

    def __init__(
        self,
        plan: Callable[[], TrainingPlan],
        lease: Lease,
        publisher: Publisher,
        *,
        wait_s: float,
        seen_generation: Callable[[], int],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._plan = plan
        self._lease = lease
        self._publisher = publisher
        self._wait_s = wait_s
        self._seen_generation = seen_generation
        self._sleep = sleep

    @asynccontextmanager
    async def __call__(self, job: Job) -> AsyncIterator[Turn]:
        """Wait for the turn, have it, give it back. A run that nobody scheduled does without the bucket if it must: its
        version is published later, if the pointer has not moved by then.

        Errors: AnotherTrainsError, also in place of what is going on, when the lease is lost.
        """
        try:
            await self._take(job)
            generation, taken = await self._begin(job)
        except BucketError as error:
            await self._give_back(job, done=False)
            if job.due is not None:
                raise
            _log.warning("training without the bucket", reason=str(error))
            generation, taken = self._seen_generation(), []
        except BaseException:
            await self._give_back(job, done=False)
            raise

        async def publish(accepted: Version) -> None:
            await self._publisher.publish(accepted, generation=generation)

        done = False
        try:
            async with self._renewing():
                yield Turn(replace(self._plan(), taken=tuple(taken)), publish)
            done = True
        except asyncio.CancelledError:
            raise
        except Exception:
            # a run that failed here would fail with the others too; it is as done as it will be
            done = self._lease.held is not None
            raise
        finally:
            await asyncio.shield(asyncio.ensure_future(self._give_back(job, done=done)))

    async def _take(self, job: Job) -> None:
        """Wait for the lease where a run is wanted in any case. Errors: AnotherTrainsError, BucketError."""
        waits = job.due is not None or job.patient
        pause = self._lease.ttl_s / _LOOKS_A_LEASE
        for remaining in range(max(1, int(self._wait_s / pause)), -1, -1):
            try:
                holder = await self._lease.try_take(job.due)
            except BucketError:
                if job.due is None or not remaining:
                    raise
            else:
                if holder is None:
                    return
                if not waits or not remaining:
                    raise AnotherTrainsError(f"{holder} trains")
            job.stage = "wait for the lease"
            await self._sleep(pause)

    async def _begin(self, job: Job) -> tuple[int, list[Version]]:
        held = self._lease.held
        if held is not None and held.taken_over:
            await self._publisher.seal()
        generation, taken = await self._publisher.standing()
        if job.patient and generation > 0:
            raise AnotherTrainsError("another service has published a version meanwhile")
        return generation, taken

    async def _give_back(self, job: Job, *, done: bool) -> None:
        try:
            await self._lease.release(job.due if done else None)
        except BucketError as error:
            _log.warning("the lease could not be given back; it ends by itself", reason=str(error))

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """Renew the lease meanwhile. When it is lost, what is going on is cancelled and AnotherTrainsError raised."""
        if self._lease.held is None:
            yield
            return
        working = asyncio.current_task()
        assert working is not None
        lost: list[AnotherTrainsError] = []

        async def renew() -> None:
            while True:
                await self._sleep(self._lease.ttl_s / _LOOKS_A_LEASE)
                try:
                    await self._lease.renew()
                except AnotherTrainsError as error:
                    lost.append(error)
                    working.cancel()
                    return

        renewing = asyncio.create_task(renew(), name="renew-lease")
        try:
            yield
        except asyncio.CancelledError:
            if lost and working.uncancel() == 0:
                raise lost[0] from None
            raise
        finally:
            renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewing
