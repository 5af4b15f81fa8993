"""When training is due, as cron means it, and what becomes of a time that was missed.

The expected times were worked out by hand from crontab(5) and a calendar, never by the library. What the manual says:

- five fields: minute, hour, day of month, month, day of week; 0 and 7 are Sunday; names are their first three letters;
- a range is inclusive, a step takes every n-th of its range from the first on, a list is the union of its parts;
- "if both fields are restricted (i.e., aren't *), the command will be run when either field matches";
- local time changes "only apply to jobs that run at a specific time": one in the skipped hour runs as soon as it is
  over, one in the repeated hour runs once, the first time; "jobs that run more frequently are scheduled normally".

Calendar: 2026-01-01 is a Thursday, 2026-02-01 and 2026-03-01 are Sundays, 2028 is a leap year.
"""

import asyncio
import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from recsys.errors import SettingsError
from recsys.jobs.schedule import Schedule, next_time
from recsys.settings import load_settings

_EVERY_SUNDAY = "0 2 * * 0"


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _next(expression: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    for _ in range(count):
        moment = next_time(expression, timezone, after)
        assert moment is not None
        after = moment
        found.append(moment.astimezone(UTC))
    return found


@pytest.mark.parametrize(
    ("expression", "after", "times"),
    [
        # Sunday has two numbers and a name; APScheduler's own reader takes 0 for Monday and refuses 7
        ("0 2 * * 0", "2026-01-01 00:00", ["2026-01-04 02:00", "2026-01-11 02:00"]),
        ("0 2 * * 7", "2026-01-01 00:00", ["2026-01-04 02:00", "2026-01-11 02:00"]),
        ("0 2 * * sun", "2026-01-01 00:00", ["2026-01-04 02:00", "2026-01-11 02:00"]),
        ("0 2 * * SUN", "2026-01-01 00:00", ["2026-01-04 02:00"]),
        ("0 2 * * Sun", "2026-01-01 00:00", ["2026-01-04 02:00"]),
        ("0 2 * * 1", "2026-01-01 00:00", ["2026-01-05 02:00"]),
        ("0 2 * * mon", "2026-01-01 00:00", ["2026-01-05 02:00"]),
        ("0 2 * * 6", "2026-01-01 00:00", ["2026-01-03 02:00"]),
        ("0 2 * * 0,7", "2026-01-01 00:00", ["2026-01-04 02:00", "2026-01-11 02:00"]),
        # ranges of days, over both ends of the week
        ("0 2 * * 1-5", "2026-01-02 03:00", ["2026-01-05 02:00", "2026-01-06 02:00"]),
        ("0 2 * * mon-fri", "2026-01-02 03:00", ["2026-01-05 02:00"]),
        ("0 2 * * 0-1", "2026-01-01 00:00", ["2026-01-04 02:00", "2026-01-05 02:00", "2026-01-11 02:00"]),
        ("0 2 * * 6-7", "2026-01-01 00:00", ["2026-01-03 02:00", "2026-01-04 02:00", "2026-01-10 02:00"]),
        ("0 2 * * 5-7", "2026-01-01 00:00", ["2026-01-02 02:00", "2026-01-03 02:00", "2026-01-04 02:00"]),
        ("0 2 * * 0-7", "2026-01-01 00:00", ["2026-01-01 02:00", "2026-01-02 02:00"]),
        ("0 2 * * 1,3,5", "2026-01-01 00:00", ["2026-01-02 02:00", "2026-01-05 02:00", "2026-01-07 02:00"]),
        ("0 2 * * tue,thu", "2026-01-01 03:00", ["2026-01-06 02:00", "2026-01-08 02:00"]),
        ("0 2 * * 1-5/2", "2026-01-03 00:00", ["2026-01-05 02:00", "2026-01-07 02:00", "2026-01-09 02:00"]),
        # every minute; a time is never the one that is asked from
        ("* * * * *", "2026-01-01 00:00", ["2026-01-01 00:01", "2026-01-01 00:02"]),
        ("* * * * *", "2026-01-01 00:00:59", ["2026-01-01 00:01"]),
        ("0 2 * * *", "2026-01-01 01:59:59", ["2026-01-01 02:00"]),
        ("0 2 * * *", "2026-01-01 02:00", ["2026-01-02 02:00"]),
        ("0 2 * * *", "2026-12-31 02:00", ["2027-01-01 02:00"]),
        # steps start at the first of their range, anew in each hour or day
        ("*/15 * * * *", "2026-01-01 00:50", ["2026-01-01 01:00", "2026-01-01 01:15"]),
        ("*/25 * * * *", "2026-01-01 00:25", ["2026-01-01 00:50", "2026-01-01 01:00"]),
        ("10-40/15 3 * * *", "2026-01-01 00:00", ["2026-01-01 03:10", "2026-01-01 03:25", "2026-01-01 03:40"]),
        ("0 */5 * * *", "2026-01-01 15:00", ["2026-01-01 20:00", "2026-01-02 00:00"]),
        ("0 9-17/4 * * *", "2026-01-01 00:00", ["2026-01-01 09:00", "2026-01-01 13:00", "2026-01-01 17:00"]),
        ("5,10-12 4 * * *", "2026-01-01 04:05", ["2026-01-01 04:10", "2026-01-01 04:11", "2026-01-01 04:12"]),
        ("0 0,12 * * *", "2026-01-01 00:00", ["2026-01-01 12:00", "2026-01-02 00:00"]),
        ("00 02 * * *", "2026-01-01 00:00", ["2026-01-01 02:00"]),
        # months by number and name
        ("0 2 1 * *", "2026-01-01 02:00", ["2026-02-01 02:00", "2026-03-01 02:00"]),
        ("0 2 1 6 *", "2026-01-01 00:00", ["2026-06-01 02:00", "2027-06-01 02:00"]),
        ("0 2 1 jun *", "2026-01-01 00:00", ["2026-06-01 02:00"]),
        ("0 2 1 JAN,Jul *", "2026-01-02 00:00", ["2026-07-01 02:00", "2027-01-01 02:00"]),
        ("0 2 1 mar-may *", "2026-01-01 00:00", ["2026-03-01 02:00", "2026-04-01 02:00", "2026-05-01 02:00"]),
        ("0 2 1 */3 *", "2026-01-01 02:00", ["2026-04-01 02:00", "2026-07-01 02:00", "2026-10-01 02:00"]),
        # months that do not have the day are left out; a leap day waits for its year, 2100 has none
        ("0 2 31 * *", "2026-01-31 02:00", ["2026-03-31 02:00", "2026-05-31 02:00", "2026-07-31 02:00"]),
        ("0 2 30 * *", "2026-01-30 02:00", ["2026-03-30 02:00", "2026-04-30 02:00"]),
        ("0 2 28-31 2 *", "2026-01-01 00:00", ["2026-02-28 02:00", "2027-02-28 02:00", "2028-02-28 02:00"]),
        ("0 2 29 2 *", "2026-01-01 00:00", ["2028-02-29 02:00", "2032-02-29 02:00"]),
        ("0 2 29 2 *", "2096-03-01 00:00", ["2104-02-29 02:00"]),
        ("59 23 31 12 *", "2026-12-31 23:59", ["2027-12-31 23:59"]),
        # both days restricted: either is enough
        ("0 2 13 * 5", "2026-01-01 00:00", ["2026-01-02 02:00", "2026-01-09 02:00", "2026-01-13 02:00"]),
        ("0 2 1,15 * 1", "2026-01-01 02:00", ["2026-01-05 02:00", "2026-01-12 02:00", "2026-01-15 02:00"]),
        ("0 2 30 2 1", "2026-01-01 00:00", ["2026-02-02 02:00", "2026-02-09 02:00"]),
        # one of them a star: only the other counts
        ("0 2 13 * *", "2026-01-01 00:00", ["2026-01-13 02:00", "2026-02-13 02:00"]),
        ("0 2 * 2 5", "2026-01-01 00:00", ["2026-02-06 02:00", "2026-02-13 02:00"]),
        ("0\t2   *  *\t0", "2026-01-01 00:00", ["2026-01-04 02:00"]),
    ],
)
def test_next_times_are_those_of_cron(expression: str, after: str, times: list[str]) -> None:
    assert [_utc(text) for text in times] == _next(expression, "UTC", _utc(after), len(times))
    assert load_settings({"RECSYS_RETRAINING__CRON": expression}).retraining.cron == expression


#: 2026: clocks in Berlin go from 02:00 to 03:00 on 29 March and from 03:00 back to 02:00 on 25 October, both at 01:00
#: UTC; in New York from 02:00 to 03:00 on 8 March (07:00 UTC) and from 02:00 back to 01:00 on 1 November (06:00 UTC).
@pytest.mark.parametrize(
    ("expression", "timezone", "after", "times"),
    [
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2026-03-27 12:00",
            ["2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"], id="Berlin, skipped: at 03:00",
        ),
        pytest.param(
            "30 2 * * *", "America/New_York", "2026-03-07 12:00",
            ["2026-03-08 07:00", "2026-03-09 06:30"], id="New York, skipped: at 03:00",
        ),
        pytest.param(
            "0 2 * * 0", "Europe/Berlin", "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-04-05 00:00"], id="Berlin, the default on the day itself",
        ),
        pytest.param(
            "15,45 2 * * *", "Europe/Berlin", "2026-03-28 12:00",
            ["2026-03-29 01:00", "2026-03-30 00:15"], id="Berlin, two skipped: once",
        ),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2026-10-24 12:00",
            ["2026-10-25 00:30", "2026-10-26 01:30"], id="Berlin, repeated: the first time only",
        ),
        pytest.param(
            "30 1 * * *", "America/New_York", "2026-10-31 12:00",
            ["2026-11-01 05:30", "2026-11-02 06:30"], id="New York, repeated: the first time only",
        ),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2026-10-25 00:45",
            ["2026-10-26 01:30"], id="Berlin, asked between the first and the second",
        ),
        pytest.param(
            "30 2 * * *", "Europe/Berlin", "2026-10-25 01:10",
            ["2026-10-26 01:30"], id="Berlin, asked in the second of the hours, before the minute",
        ),
        pytest.param(
            "30 1 * * *", "America/New_York", "2026-11-01 06:10",
            ["2026-11-02 06:30"], id="New York, asked in the second of the hours, before the minute",
        ),
        pytest.param(
            "*/30 * * * *", "Europe/Berlin", "2026-03-29 00:15",
            ["2026-03-29 00:30", "2026-03-29 01:00", "2026-03-29 01:30"], id="Berlin, every half hour: none skipped",
        ),
        pytest.param(
            "*/30 * * * *", "Europe/Berlin", "2026-10-24 23:45",
            ["2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00"],
            id="Berlin, every half hour: both of the repeated",
        ),
        pytest.param(
            "0 * * * *", "America/New_York", "2026-11-01 04:30",
            ["2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"], id="New York, every hour: both",
        ),
        pytest.param(
            "0 * * * *", "America/New_York", "2026-03-08 05:30",
            ["2026-03-08 06:00", "2026-03-08 07:00", "2026-03-08 08:00"], id="New York, every hour: none skipped",
        ),
        pytest.param(
            "0 4 * * *", "Europe/Berlin", "2026-03-28 12:00",
            ["2026-03-29 02:00", "2026-03-30 02:00"], id="Berlin, outside the hour: by the new time",
        ),
        pytest.param(
            "0 12 * * *", "Asia/Kolkata", "2026-01-01 00:00",
            ["2026-01-01 06:30", "2026-01-02 06:30"], id="Kolkata, half an hour off",
        ),
    ],
)  # fmt: skip
def test_days_on_which_clocks_change(expression: str, timezone: str, after: str, times: list[str]) -> None:
    assert [_utc(text) for text in times] == _next(expression, timezone, _utc(after), len(times))


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "30 1 * * *", "*/20 * * * *", "15 1-3 * * *", "0 2 * * 0"])
def test_time_only_goes_forward(expression: str, timezone: str) -> None:
    """A next time that is not after the one asked from would make the scheduler run for ever. Asked every ten minutes
    around each change of clocks.
    """
    for day in ("2026-03-08", "2026-03-29", "2026-04-04", "2026-10-03", "2026-10-25", "2026-11-01"):
        for minutes in range(-12 * 60, 36 * 60, 10):
            after = _utc(day) + timedelta(minutes=minutes)
            moment = next_time(expression, timezone, after)
            assert moment is not None
            assert moment > after


def test_a_day_that_never_comes_has_no_next_time() -> None:
    """29 February on a day of the week is an "or", so only a date that no month has remains; that one is refused."""
    with pytest.raises(SettingsError):
        load_settings({"RECSYS_RETRAINING__CRON": "0 0 31 4,6,9,11 *"})


@pytest.mark.parametrize(
    "expression",
    [
        "* * * *",
        "* * * * * *",
        "0 0 2 * * 0",
        "@weekly",
        "hello",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "-1 * * * *",
        "1.5 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        "5-3 * * * *",
        "0 2 * * fri-mon",
        "0 2 * * sunday",
        "0 2 * jan-foo *",
        "1, * * * *",
        ",1 * * * *",
        "1-2-3 * * * *",
        "- * * * *",
        "/5 * * * *",
        "0 2 30 2 *",
        "0 2 31 4 *",
        "\u0663 * * * *",
        "9" * 5000 + " * * * *",
    ],
)
def test_what_cron_does_not_know_is_refused_by_the_setting_s_name(expression: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings({"RECSYS_RETRAINING__CRON": expression})
    assert "RECSYS_RETRAINING__CRON" in str(raised.value)
    assert "a cron expression looks like 0 2 * * 0" in str(raised.value)


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "+02:00"])
def test_a_time_zone_that_is_none_is_refused_by_the_setting_s_name(timezone: str) -> None:
    with pytest.raises(SettingsError, match="RECSYS_RETRAINING__TIMEZONE"):
        load_settings({"RECSYS_RETRAINING__TIMEZONE": timezone})


class Asked:
    """Stands for the retrainer: it is only asked."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.due: list[datetime | None] = []

    def __call__(self, because: str, *, due: datetime | None) -> None:
        self.reasons.append(because)
        self.due.append(due)


def _schedule(asked: Asked, now: str = "2026-01-07 12:00", expression: str = _EVERY_SUNDAY) -> Schedule:
    return Schedule(asked, expression=expression, timezone="UTC", now=lambda: _utc(now))


@pytest.mark.parametrize(
    ("last_run", "now"),
    [
        ("2026-01-01 00:00", "2026-01-04 02:00"),
        ("2026-01-01 00:00", "2026-01-07 12:00"),
        ("2026-01-01 00:00", "2026-03-07 12:00"),
        ("2020-01-01 00:00", "2026-03-07 12:00"),
    ],
)
def test_however_many_runs_were_missed_one_makes_up_for_them(last_run: str, now: str) -> None:
    asked = Asked()
    assert _schedule(asked, now).make_up(_utc(last_run))
    (reason,) = asked.reasons
    assert "it was due at" in reason
    assert "when the service was down" in reason


@pytest.mark.parametrize("last_run", ["2026-01-04 02:00", "2026-01-04 02:03", "2026-01-07 11:59", "2026-02-01 00:00"])
def test_nothing_is_made_up_when_nothing_was_missed(last_run: str) -> None:
    asked = Asked()
    assert not _schedule(asked).make_up(_utc(last_run))
    assert asked.reasons == []


def test_nothing_is_made_up_before_the_first_run() -> None:
    asked = Asked()
    assert not _schedule(asked).make_up(None)
    assert asked.reasons == []


def test_a_run_that_falls_due_in_the_repeated_hour_is_not_made_up_again() -> None:
    """It ran at 00:30 UTC; at 01:10 UTC the clock says 02:10 once more."""
    asked = Asked()
    schedule = Schedule(asked, expression="30 2 * * *", timezone="Europe/Berlin", now=lambda: _utc("2026-10-25 01:20"))
    assert not schedule.make_up(_utc("2026-10-25 01:10"))


def test_the_next_run_is_known_only_while_started() -> None:
    assert _schedule(Asked()).next_run is None


class Clock:
    """The time that APScheduler reads, to be set by a test."""

    def __init__(self) -> None:
        self.time = _utc("2026-01-03 12:00")

    def now(self, tz: object = None) -> datetime:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", clock)
    monkeypatch.setattr("apscheduler.executors.base.datetime", clock)
    return clock


async def _wake(schedule: Schedule, asked: Asked, expected: int) -> None:
    """Let the alarm clock look at the time, and wait for what it does."""
    scheduler = schedule._scheduler
    assert isinstance(scheduler, AsyncIOScheduler)
    scheduler.wakeup()
    deadline = time.monotonic() + 5
    while len(asked.reasons) < expected:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    for _ in range(20):  # what should not come has its chance to come
        await asyncio.sleep(0)


async def test_the_next_run_is_shown_and_the_alarm_only_asks(clock: Clock) -> None:
    asked = Asked()
    schedule = Schedule(asked, expression=_EVERY_SUNDAY, timezone="UTC", now=clock.now)
    schedule.start()
    try:
        assert schedule.next_run == _utc("2026-01-04 02:00")
        await _wake(schedule, asked, 0)
        assert asked.reasons == []
        clock.time = _utc("2026-01-04 02:00")
        await _wake(schedule, asked, 1)
        assert asked.reasons == ["the schedule says so"]
        assert asked.due == [_utc("2026-01-04 02:00")]
        assert schedule.next_run == _utc("2026-01-11 02:00")
        await _wake(schedule, asked, 1)
        assert len(asked.reasons) == 1
    finally:
        schedule.stop()
    assert schedule.next_run is None


@pytest.mark.parametrize("late", [timedelta(seconds=5), timedelta(hours=3), timedelta(days=2), timedelta(weeks=30)])
async def test_a_late_wake_up_asks_once_and_is_not_skipped(clock: Clock, late: timedelta) -> None:
    """As after a laptop slept: APScheduler's own default skips what is a second late, and would else ask for each."""
    asked = Asked()
    schedule = Schedule(asked, expression=_EVERY_SUNDAY, timezone="UTC", now=clock.now)
    schedule.start()
    try:
        clock.time = _utc("2026-01-04 02:00") + late
        await _wake(schedule, asked, 1)
        assert len(asked.reasons) == 1
        assert schedule.next_run is not None
        assert schedule.next_run > clock.time
    finally:
        schedule.stop()


async def test_a_start_in_the_repeated_hour_does_not_ask_again_and_again(clock: Clock) -> None:
    clock.time = _utc("2026-10-25 01:10")
    asked = Asked()
    schedule = Schedule(asked, expression="30 2 * * *", timezone="Europe/Berlin", now=clock.now)
    schedule.start()
    try:
        await _wake(schedule, asked, 0)
        assert asked.reasons == []
        assert schedule.next_run == _utc("2026-10-26 01:30")
    finally:
        schedule.stop()


async def test_an_ask_that_fails_does_not_end_the_schedule(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()
    calls = itertools.count()

    def ask(because: str, *, due: datetime | None) -> None:
        if next(calls) == 0:
            raise RuntimeError("not now")
        asked(because, due=due)

    schedule = Schedule(ask, expression=_EVERY_SUNDAY, timezone="UTC", now=clock.now)
    schedule.start()
    try:
        clock.time = _utc("2026-01-04 02:00")
        await _wake(schedule, asked, 0)
        clock.time = _utc("2026-01-11 02:00")
        await _wake(schedule, asked, 1)
        assert asked.reasons == ["the schedule says so"]
    finally:
        schedule.stop()


async def test_stopping_is_final_and_may_be_repeated() -> None:
    schedule = _schedule(Asked())
    schedule.stop()
    schedule.start()
    schedule.stop()
    schedule.stop()
    assert schedule.next_run is None
