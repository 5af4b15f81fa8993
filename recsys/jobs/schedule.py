"""When to retrain: a cron expression as cron means it. APScheduler is only the alarm clock; `jobs.retrain` owns the
run.

APScheduler's own crontab reader takes 0 for Monday, refuses 7, and runs a local-time job twice when clocks go back
(`FINDINGS` 4); so CronSim, which follows Debian's cron in all of these, says when, and a trigger hands that on.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import structlog
from apscheduler.triggers.base import BaseTrigger
from cronsim import CronSim

if TYPE_CHECKING:
    from apscheduler.schedulers.asyncio import AsyncIOScheduler

_log = structlog.get_logger(__name__)


def next_time(expression: str, timezone: str, after: datetime) -> datetime | None:
    """Return the first time after `after` (aware) that `expression` names in `timezone`; None if there is none within
    fifty years. In the hour that clocks skip, a fixed time runs as soon as they have; in the one they repeat, once.
    """
    after = after.astimezone(UTC)
    # within the repeated hour CronSim names the first of the two, which may be over already
    found = (moment for moment in CronSim(expression, after.astimezone(ZoneInfo(timezone))) if moment > after)
    return next(found, None)


def last_time(expression: str, timezone: str, before: datetime) -> datetime | None:
    """Return the last time up to `before` (aware) that `expression` names; None if there is none within fifty years.

    All services of a bucket agree on it, however late each of them is.
    """
    local = before.astimezone(ZoneInfo(timezone)) + timedelta(seconds=1)
    return next((moment for moment in CronSim(expression, local, reverse=True) if moment <= before), None)


class _Cron(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Tells APScheduler the next time."""

    def __init__(self, expression: str, timezone: str) -> None:
        self._expression = expression
        self._timezone = timezone

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        after = max(now, previous_fire_time) if previous_fire_time is not None else now
        return next_time(self._expression, self._timezone, after)


class Ask(Protocol):
    """What starts a run: see `Retrainer.ask`."""

    def __call__(self, because: str, *, due: datetime | None) -> object: ...


class Schedule:
    """Calls `ask` at the times of an expression, while started."""

    def __init__(
        self,
        ask: Ask,
        *,
        expression: str,
        timezone: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ask = ask
        self._expression = expression
        self._timezone = timezone
        self._now = now
        self._scheduler: AsyncIOScheduler | None = None

    def start(self) -> None:
        # it looks through all that is installed when it is imported: not for a service without a schedule
        from apscheduler.schedulers.asyncio import AsyncIOScheduler

        # never skipped for being late, never run twice for having been late: a sleeping laptop retrains when it wakes
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._scheduler.add_job(
            self._due,
            _Cron(self._expression, self._timezone),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None

    async def _due(self) -> None:
        self._ask("the schedule says so", due=last_time(self._expression, self._timezone, self._now()))

    @property
    def next_run(self) -> datetime | None:
        """When it is due next; None while not started."""
        if self._scheduler is None:
            return None
        return next_time(self._expression, self._timezone, self._now())

    def make_up(self, last_run: datetime | None) -> bool:
        """Ask once if a time has passed since `last_run` (None: there never was one, so none was missed)."""
        if last_run is None:
            return False
        missed = next_time(self._expression, self._timezone, last_run)
        if missed is None or missed > self._now():
            return False
        _log.info("a scheduled run was missed", due=missed.isoformat())
        because = f"it was due at {missed.astimezone(UTC):%Y-%m-%d %H:%M} UTC, when the service was down"
        self._ask(because, due=missed)
        return True
