"""The record of runs outlives the process, and whatever has become of its file, the service starts and trains."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from recsys.jobs.ledger import CUT_OFF, Job, Ledger, Status


def _job(name: str, status: Status = "running", reason: str | None = None) -> Job:
    job = Job(id=name, asked_because="test", status=status)
    if job.ended:
        job.end(status, reason)
    return job


def _shown(jobs: list[Job]) -> list[tuple[str, str]]:
    return [(job.id, job.status) for job in jobs]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """One that was loaded once, as at a first start."""
    ledger = Ledger(tmp_path / "state")
    assert ledger.load() == []
    return ledger


def _reload(ledger: Ledger) -> list[Job]:
    return Ledger(ledger.path.parent).load()


def test_a_job_is_read_back_as_it_was(ledger: Ledger) -> None:
    job = _job("one", "rejected", "the gate refused it: finite")
    job.stage, job.model_version, job.metrics = "publish", "v1.0.4", {"models": {"edlae": {"ndcg@10": {"value": 0.2}}}}
    job.checks = [{"name": "finite", "passed": False, "value": None}]
    ledger.record(job)
    (found,) = _reload(ledger)
    assert job.as_dict() == found.as_dict()


@pytest.mark.parametrize("status", ["accepted", "rejected", "failed", "timed_out", "cancelled"])
def test_every_end_survives_a_restart(ledger: Ledger, status: Status) -> None:
    ledger.record(_job("one"))
    ledger.record(_job("one", status, "because"))
    assert [("one", status)] == _shown(_reload(ledger))
    assert [("one", status)] == _shown(_reload(ledger))


@pytest.mark.parametrize("status", ["queued", "running"])
def test_a_run_that_never_ended_is_shown_as_cut_off_and_stays_so(ledger: Ledger, status: Status) -> None:
    ledger.record(_job("one", status))
    (found,) = _reload(ledger)
    assert (found.status, found.reason) == ("failed", CUT_OFF)
    assert found.ended_at is not None
    (again,) = _reload(ledger)
    assert found.as_dict() == again.as_dict()


def test_the_order_is_that_of_the_beginnings(ledger: Ledger) -> None:
    for name in ("one", "two", "three"):
        ledger.record(_job(name))
    for name in ("three", "one", "two"):
        ledger.record(_job(name, "accepted"))
    assert _shown(_reload(ledger)) == [("one", "accepted"), ("two", "accepted"), ("three", "accepted")]


@pytest.mark.parametrize("kept", [1, 30, -2])
def test_half_a_last_line_costs_that_line_only(ledger: Ledger, kept: int) -> None:
    """What a crash leaves: the job's first line stands, so it is shown, as cut off."""
    ledger.record(_job("one", "accepted"))
    ledger.record(_job("two"))
    line = orjson.dumps(_job("two", "accepted").as_dict())
    with ledger.path.open("ab") as file:
        file.write(line[:kept])
    assert _shown(_reload(ledger)) == [("one", "accepted"), ("two", "failed")]


def test_what_follows_half_a_line_is_not_lost_with_it(ledger: Ledger) -> None:
    with ledger.path.open("ab") as file:
        file.write(b'{"job_id": "ha')
    restarted = Ledger(ledger.path.parent)
    restarted.load()
    restarted.record(_job("one", "accepted"))
    assert _shown(_reload(ledger)) == [("one", "accepted")]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\x00" * 4096,
        b"\xff\xfe not text",
        b"5",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 5000,
        b'{"job_id": "x", "status": ["accepted"]}',
        orjson.dumps(_job("x").as_dict() | {"status": "flying"}),
        orjson.dumps(_job("x").as_dict() | {"created_at": "yesterday"}),
        orjson.dumps(_job("x").as_dict() | {"created_at": 5}),
        orjson.dumps(_job("x").as_dict() | {"progress": None}),
        orjson.dumps(_job("x").as_dict() | {"metrics": 5}),
        orjson.dumps(_job("x").as_dict() | {"checks": 5}),
    ],
)
def test_a_line_that_is_no_job_is_left_out(ledger: Ledger, line: bytes) -> None:
    ledger.record(_job("one", "accepted"))
    with ledger.path.open("ab") as file:
        file.write(line + b"\n")
    ledger.record(_job("two", "rejected"))
    assert _shown(_reload(ledger)) == [("one", "accepted"), ("two", "rejected")]


def test_only_the_last_200_are_kept_in_memory_and_on_disk(ledger: Ledger) -> None:
    lines = [orjson.dumps(_job(f"job-{number}", "accepted").as_dict()) for number in range(1000)]
    ledger.path.write_bytes(b"\n".join(lines) + b"\n")
    assert [f"job-{number}" for number in range(800, 1000)] == [job.id for job in _reload(ledger)]
    assert len(ledger.path.read_bytes().splitlines()) == 200


def test_the_state_directory_is_made_when_it_is_not_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "not" / "yet")
    assert ledger.load() == []
    ledger.record(_job("one", "accepted"))
    assert _shown(_reload(ledger)) == [("one", "accepted")]


def test_a_file_that_cannot_be_read_keeps_nobody_from_starting(tmp_path: Path) -> None:
    """A directory in its place stands for all that cannot be read; permissions do not hold for root."""
    (tmp_path / "jobs.jsonl" / "inside").mkdir(parents=True)
    assert Ledger(tmp_path).load() == []


def test_a_file_that_cannot_be_rewritten_still_tells_of_the_past(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(_job("one", "accepted"))

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recsys.jobs.ledger.replace_durable", full)
    assert _shown(_reload(ledger)) == [("one", "accepted")]


def test_loading_leaves_no_other_file_behind(ledger: Ledger) -> None:
    ledger.record(_job("one"))
    _reload(ledger)
    assert [ledger.path] == list(ledger.path.parent.iterdir())


def test_times_are_written_in_utc_and_read_back_as_such(ledger: Ledger) -> None:
    job = _job("one")
    job.created_at = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    ledger.record(job)
    assert b'"created_at":"2026-03-01T12:00:00.123Z"' in ledger.path.read_bytes()
    (found,) = _reload(ledger)
    assert found.created_at == job.created_at
    assert found.created_at.tzinfo is not None


def test_a_time_without_a_zone_does_not_reach_the_scheduler(ledger: Ledger) -> None:
    """It would be compared with times that have one, at the next start."""
    ledger.path.write_bytes(orjson.dumps(_job("x", "accepted").as_dict() | {"created_at": "2026-01-01T00:00:00"}))
    assert [job for job in _reload(ledger) if job.created_at.tzinfo is None] == []
