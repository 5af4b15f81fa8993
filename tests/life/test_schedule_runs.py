"""The clock and the service: a run that was missed while it was down, and the next one in `/health`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from life_of_a_process import wait_idle
from service import ServerProcess

Serve = Callable[..., ServerProcess]
WEEKLY = {"RECSYS_RETRAINING__ENABLED": "true", "RECSYS_RETRAINING__CRON": "0 2 * * 0"}


@pytest.fixture
def last_ran(tmp_path: Path) -> Callable[[timedelta], None]:
    """Write a ledger whose only run ended so long ago."""

    def write(ago: timedelta) -> None:
        moment = (datetime.now(UTC) - ago).isoformat()
        job = {
            "job_id": "long-ago", "asked_because": "the schedule says so", "status": "accepted", "stage": "publish",
            "progress": 1.0, "reason": None, "metrics": {}, "checks": [], "model_version": "v1.0.0",
            "created_at": moment, "ended_at": moment,
        }  # fmt: skip
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "jobs.jsonl").write_text(json.dumps(job) + "\n")

    return write


def test_a_missed_run_is_made_up_once(
    serve: Serve, store_with: Callable[..., object], last_ran: Callable[[timedelta], None]
) -> None:
    store_with("v1.0.0")
    last_ran(timedelta(days=8))

    server = serve(environ=WEEKLY)
    assert server.request("/health").json["model_version"] == "v1.0.0"
    server.wait_version("v1.0.1", 60)
    wait_idle(server)
    last = server.request("/health").json["retraining"]["last"]
    assert last["status"] == "accepted"
    assert "the service was down" in last["asked_because"]
    server.stop()

    again = serve(environ=WEEKLY).request("/health").json
    assert ("v1.0.1", None, last["job_id"]) == (
        again["model_version"], again["retraining"]["running"], again["retraining"]["last"]["job_id"],
    )  # fmt: skip


@pytest.mark.parametrize(
    "environ",
    [
        WEEKLY | {"RECSYS_RETRAINING__MAKE_UP_MISSED": "false"},
        WEEKLY | {"RECSYS_RETRAINING__ENABLED": "false"},
        WEEKLY | {"RECSYS_RETRAINING__CRON": "0 0 29 2 *"},
    ],
    ids=["not wished", "no schedule", "not due"],
)
def test_nothing_is_made_up(
    serve: Serve,
    store_with: Callable[..., object],
    last_ran: Callable[[timedelta], None],
    environ: dict[str, str],
) -> None:
    store_with("v1.0.0")
    last_ran(timedelta(days=8))
    # whether a run is asked for is decided before the port opens
    retraining = serve(environ=environ).request("/health").json["retraining"]
    assert (retraining["running"], retraining["last"]["job_id"]) == (None, "long-ago")


def test_health_says_when_the_next_run_is_due(serve: Serve, store_with: Callable[..., object]) -> None:
    store_with("v1.0.0")
    retraining = serve(environ=WEEKLY).request("/health").json["retraining"]

    assert retraining["enabled"]
    due = datetime.fromisoformat(retraining["next_run"])
    assert (f"{due:%A}", due.hour, due.minute) == ("Sunday", 2, 0)
    assert timedelta(0) < due - datetime.now(UTC) <= timedelta(days=7)


@pytest.mark.parametrize(
    ("environment", "enabled"), [("development", False), ("production", True)], ids=["development", "production"]
)
def test_retraining_by_the_clock_is_for_production_unless_told_otherwise(
    serve: Serve, store_with: Callable[..., object], environment: str, enabled: bool
) -> None:
    store_with("v1.0.0")
    # the address is read from console lines
    server = serve(environ={"RECSYS_ENVIRONMENT": environment, "RECSYS_LOG__FORMAT": "console"})
    retraining = server.request("/health").json["retraining"]
    assert (enabled, enabled) == (retraining["enabled"], retraining["next_run"] is not None)
