"""Whatever a training child does, the run ends with a reason, the loop goes on, and the next run is accepted.

Every child here is a real, spawned process with the real initializer; only its work is exchanged (`child_work`).
"""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import child_that_cannot_start
import child_work
import orjson
import pytest

from recsys.errors import JobEndedError, UnknownJobError
from recsys.jobs.ledger import Job, Ledger
from recsys.jobs.retrain import Retrainer, RunLimits
from recsys.jobs.turns import alone
from recsys.training.plan import TrainingPlan

_LIMITS = RunLimits(timeout_s=60, memory_mb=512, blas_threads=1)
#: A child has to load pandas and scipy before it works; on a busy machine that takes seconds.
_DEADLINE_S = 60.0
Work = Callable[[TrainingPlan], Any]


async def _until(condition: Callable[[], bool], what: str, timeout_s: float = _DEADLINE_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not {what} after {timeout_s} s"
        await asyncio.sleep(0.01)


def _is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Runs:
    """A retrainer whose work can be exchanged between runs, with all that it said."""

    def __init__(self, directory: Path, limits: RunLimits = _LIMITS, ledger: Ledger | None = None) -> None:
        self.plan = TrainingPlan(models=directory / "models", sample=directory / "sample")
        self.state = directory / "state"
        self.work: Work = child_work.accept
        self.heard: list[tuple[str, str, float]] = []
        self.retrainer = Retrainer(
            alone(lambda: self.plan),
            ledger or Ledger(self.state),
            limits,
            on_change=lambda job: self.heard.append((job.status, job.stage, job.progress)),
            work=lambda plan: None,  # type: ignore[arg-type, return-value]  # exchanged before each run
        )

    def ask(self, work: Work = child_work.accept, *, patient: bool = False) -> Job:
        self.retrainer._work = work
        job, is_new = self.retrainer.ask("a test asks", patient=patient)
        assert is_new
        return job

    async def run(self, work: Work = child_work.accept, *, patient: bool = False) -> Job:
        job = self.ask(work, patient=patient)
        await self.ended(job)
        return job

    async def ended(self, job: Job) -> None:
        """Wait until the job is over and its end is in the ledger."""
        await _until(lambda: job.ended, "ended")
        assert self.retrainer._task is not None
        await asyncio.wait_for(asyncio.wait([self.retrainer._task]), _DEADLINE_S)

    async def child(self) -> int:
        """The process id of the child, once it works (and has said so itself)."""
        file = self.plan.models / "pid"
        await _until(file.exists, "working")
        pid = int(file.read_text())
        file.unlink()
        return pid

    def in_ledger(self, job: Job) -> dict[str, Any]:
        """The last that the file says of a job."""
        lines = [orjson.loads(line) for line in (self.state / "jobs.jsonl").read_bytes().splitlines()]
        found: dict[str, Any] = [line for line in lines if line["job_id"] == job.id][-1]
        return found


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Runs]]]:
    started: list[Runs] = []

    async def make(limits: RunLimits = _LIMITS, ledger: Ledger | None = None) -> Runs:
        runs = Runs(tmp_path, limits, ledger)
        await runs.retrainer.open()
        started.append(runs)
        return runs

    yield make
    for runs in started:
        await runs.retrainer.close()


Start = Callable[..., Awaitable[Runs]]


async def test_an_accepted_run_says_what_it_made(start: Start) -> None:
    runs = await start()
    job = await runs.run()
    assert (job.status, job.reason, job.model_version, job.progress) == ("accepted", None, "v1.0.0", 1.0)
    assert job.as_dict() == runs.in_ledger(job)


async def test_a_rejected_run_names_the_checks_that_refused_it(start: Start) -> None:
    runs = await start()
    job = await runs.run(child_work.reject)
    assert (job.status, job.model_version) == ("rejected", "v1.0.1")
    assert "the gate refused it: ratings_not_shrunk" == job.reason == runs.in_ledger(job)["reason"]


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        pytest.param(child_work.be_killed, "the training process died", id="killed"),
        pytest.param(child_work.crash, "the training process died", id="segmentation fault"),
        pytest.param(child_that_cannot_start.never, "the training process died", id="dies at start"),
        pytest.param(child_work.leave, "SystemExit: 7", id="exits"),
        pytest.param(child_work.interrupt, "KeyboardInterrupt", id="interrupted"),
        pytest.param(child_work.raise_expected, "the matrix is not positive definite (raise the ridge)", id="error"),
        pytest.param(child_work.raise_foreign, "KeyError: 'movieId'", id="an error nobody foresaw"),
        pytest.param(child_work.time_out, "TimeoutError: a file server did not answer", id="a time-out of its own"),
        pytest.param(child_work.stop_iteration, "StopIteration", id="an error that a future cannot hold"),
        pytest.param(child_work.raise_unpicklable, "cannot pickle", id="an error that cannot be sent"),
        pytest.param(child_work.raise_unreadable, "", id="an error that cannot be received"),
        pytest.param(child_work.return_text, "returned str", id="returns text"),
        pytest.param(child_work.return_nothing, "returned NoneType", id="returns nothing"),
        pytest.param(child_work.return_unpicklable, "cannot pickle", id="returns what cannot be sent"),
        pytest.param(child_work.return_nameless_checks, "KeyError", id="returns checks without names"),
        pytest.param(lambda plan: None, "pickle", id="work that cannot be sent"),
    ],
)
async def test_a_bad_end_is_recorded_with_its_reason_and_the_next_run_is_accepted(
    start: Start, work: Work, reason: str
) -> None:
    runs = await start()
    job = await runs.run(work)
    assert job.status == "failed"
    assert job.reason
    assert reason in job.reason
    assert ("failed", job.reason) == (runs.in_ledger(job)["status"], runs.in_ledger(job)["reason"])
    assert (job.status, job.stage, job.progress) == runs.heard[-1]
    assert (await runs.run()).status == "accepted"


@pytest.mark.parametrize("work", [child_work.allocate, child_work.allocate_at_once])
async def test_a_child_that_takes_more_memory_than_it_may_fails_for_that_reason(start: Start, work: Work) -> None:
    runs = await start(RunLimits(timeout_s=60, memory_mb=256, blas_threads=1))
    job = await runs.run(work)
    assert (job.status, job.reason) == ("failed", "needs more than 256 MB (RECSYS_RETRAINING__MEMORY_LIMIT_MB)")
    assert runs.in_ledger(job)["status"] == "failed"
    assert (await runs.run()).status == "accepted"


@pytest.mark.parametrize("work", [child_work.hang, child_work.spin])
async def test_a_child_that_hangs_is_ended_at_the_time_limit(start: Start, work: Work) -> None:
    runs = await start(RunLimits(timeout_s=6, memory_mb=512, blas_threads=1))
    job = runs.ask(work)
    child = await runs.child()
    await runs.ended(job)
    assert (job.status, job.reason) == ("timed_out", "took longer than 6 s (RECSYS_RETRAINING__TIMEOUT_S)")
    assert runs.in_ledger(job)["status"] == "timed_out"
    assert not _is_alive(child)
    assert (await runs.run()).status == "accepted"


async def test_a_child_killed_from_outside_while_it_works_is_a_recorded_failure(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.hang)
    os.kill(await runs.child(), signal.SIGKILL)
    await runs.ended(job)
    assert "failed" == job.status == runs.in_ledger(job)["status"]
    assert "died" in str(job.reason)
    assert (await runs.run()).status == "accepted"


async def test_rubbish_in_the_progress_pipe_is_a_recorded_outcome(start: Start) -> None:
    runs = await start()
    job = await runs.run(child_work.send_rubbish)
    assert job.ended
    assert job.status == runs.in_ledger(job)["status"]
    assert (await runs.run()).status == "accepted"


async def test_metrics_that_cannot_be_written_do_not_keep_the_run_from_ending(start: Start) -> None:
    runs = await start()
    job = await runs.run(child_work.return_unwritable_metrics)
    assert job.ended
    assert job.status == runs.heard[-1][0]
    assert (await runs.run()).status == "accepted"


async def test_a_listener_that_fails_does_not_keep_the_run_from_ending(tmp_path: Path) -> None:
    def fail(job: Job) -> None:
        raise ZeroDivisionError

    plan = TrainingPlan(models=tmp_path / "models", sample=tmp_path / "sample")
    retrainer = Retrainer(alone(lambda: plan), Ledger(tmp_path), _LIMITS, on_change=fail, work=child_work.accept)
    await retrainer.open()
    job, _ = retrainer.ask("a test asks")
    await _until(lambda: job.ended, "ended")
    assert retrainer.running is None
    await retrainer.close()


async def test_a_plan_that_cannot_be_made_is_a_recorded_failure(start: Start) -> None:
    runs = await start()
    plans: dict[str, TrainingPlan] = {}
    runs.retrainer._turns = alone(lambda: plans["plan"])
    job = await runs.run()
    assert (job.status, job.reason) == ("failed", "KeyError: 'plan'")


async def test_a_second_ask_gets_the_running_job(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.hang)
    assert (job, False) == runs.retrainer.ask("somebody else asks")
    await runs.child()
    assert (job, False) == runs.retrainer.ask("somebody else asks")
    assert job.asked_because == "a test asks"
    assert [job] == runs.retrainer.jobs


async def test_cancelling_at_once_ends_a_run_whose_child_is_still_starting(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.hang)
    await runs.retrainer.cancel(job.id, "the operator changed their mind")
    assert (job.status, job.reason) == ("cancelled", "the operator changed their mind")
    assert runs.in_ledger(job)["status"] == "cancelled"
    assert (await runs.run()).status == "accepted"


async def test_cancelling_while_the_process_is_being_started_leaves_none_behind(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.hang)
    await _until(lambda: bool(_children()), "started")
    pids = _children()
    await runs.retrainer.cancel(job.id, "stop")
    assert job.status == "cancelled"
    assert [pid for pid in pids if _is_alive(pid)] == []


def _children() -> list[int]:
    """The spawned workers of this process; the resource tracker, which stays, is none of them."""
    found = []
    for path in Path("/proc/self/task").glob("*/children"):
        for pid in path.read_text().split():
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and b"spawn_main" in command.read_bytes():
                found.append(int(pid))
    return found


async def test_cancelling_a_run_ends_its_child(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.spin)
    child = await runs.child()
    assert job is await runs.retrainer.cancel(job.id, "stop")
    assert (job.status, job.reason) == ("cancelled", "stop")
    assert not _is_alive(child)
    assert (await runs.run()).status == "accepted"


async def test_cancelling_twice_at_once_waits_for_the_child_both_times(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.spin)
    child = await runs.child()
    await asyncio.gather(
        runs.retrainer.cancel(job.id, "one"), runs.retrainer.cancel(job.id, "two"), return_exceptions=True
    )
    assert job.status == "cancelled"
    assert not _is_alive(child)
    assert (await runs.run()).status == "accepted"


async def test_only_a_running_job_can_be_cancelled(start: Start) -> None:
    runs = await start()
    job = await runs.run()
    with pytest.raises(JobEndedError):
        await runs.retrainer.cancel(job.id, "stop")
    with pytest.raises(UnknownJobError):
        await runs.retrainer.cancel("no such job", "stop")
    assert job.status == "accepted"


async def test_closing_ends_the_run_and_its_child(start: Start) -> None:
    runs = await start()
    job = runs.ask(child_work.spin)
    child = await runs.child()
    await runs.retrainer.close()
    assert (job.status, job.reason) == ("cancelled", "the service is stopping")
    assert runs.in_ledger(job)["status"] == "cancelled"
    assert not _is_alive(child)


async def test_closing_when_nothing_runs_does_nothing(start: Start) -> None:
    runs = await start()
    await runs.retrainer.close()
    await runs.run()
    await runs.retrainer.close()
    assert [job.status for job in runs.retrainer.jobs] == ["accepted"]


class SlowLedger(Ledger):
    """A disk that takes its time with the end of a run."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.writing_end, self.go_on = threading.Event(), threading.Event()

    def record(self, job: Job) -> None:
        if job.ended:
            self.writing_end.set()
            assert self.go_on.wait(_DEADLINE_S)
        super().record(job)


async def test_closing_waits_until_the_end_of_a_run_is_written(start: Start, tmp_path: Path) -> None:
    """Otherwise the next start would show an accepted run as cut off."""
    ledger = SlowLedger(tmp_path / "state")
    runs = await start(ledger=ledger)
    job = runs.ask()
    await _until(ledger.writing_end.is_set, "writing the end")
    closing = asyncio.create_task(runs.retrainer.close())
    await asyncio.sleep(0)
    ledger.go_on.set()
    await closing
    assert runs.in_ledger(job)["status"] == "accepted"


async def test_progress_arrives_in_order_and_to_the_end(start: Start) -> None:
    runs = await start()
    await runs.run(child_work.tell_and_accept)
    told = [("read", 0.0), ("read", 0.1), ("fit", 0.2), ("evaluate", 0.5), ("publish", 1.0)]
    heard = [(stage, share) for status, stage, share in runs.heard if status == "running" and stage != "start"]
    assert told == heard
    assert runs.heard[-1] == ("accepted", "publish", 1.0)


async def test_the_loop_is_never_kept_waiting_by_a_run(start: Start) -> None:
    """Its longest pause from the start of a process to the end of a killed one. A garbage collection or a busy machine
    may take some of it, a process that is started or joined on the loop would take more.
    """
    runs = await start()
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    job = runs.ask(child_work.spin)
    await runs.child()
    await runs.retrainer.cancel(job.id, "stop")
    await runs.run(child_work.tell_and_accept)
    watching.cancel()
    assert longest < 0.25


async def test_the_child_is_of_low_priority_with_capped_linear_algebra_threads(start: Start) -> None:
    described = {}
    for blas_threads in (1, 2):
        runs = await start(RunLimits(timeout_s=60, memory_mb=512, blas_threads=blas_threads))
        described[blas_threads] = (await runs.run(child_work.describe_self)).metrics
        assert {str(blas_threads)} == set(described[blas_threads]["blas"].values())
        assert min(os.nice(0) + 10, 19) == described[blas_threads]["niceness"]
        assert described[blas_threads]["class"] == os.SCHED_IDLE
    assert described[1]["pid"] != os.getpid()
    if (os.cpu_count() or 1) > 1:
        # the variables were there before numpy was loaded, so they count
        assert described[1]["threads"] < described[2]["threads"]


async def test_a_first_model_is_not_held_back_for_there_is_nothing_to_serve(start: Start) -> None:
    runs = await start()
    found = (await runs.run(child_work.describe_self, patient=True)).metrics

    assert (os.nice(0), os.sched_getscheduler(0)) == (found["niceness"], found["class"])


async def test_every_run_has_a_fresh_child(start: Start) -> None:
    runs = await start()
    pids = [(await runs.run(child_work.describe_self)).metrics["pid"] for _ in range(2)]
    assert len(set(pids)) == 2
    assert [pid for pid in pids if _is_alive(pid)] == []


async def test_runs_leave_no_open_file_behind(start: Start) -> None:
    runs = await start()
    await runs.run(child_work.accept)  # the resource tracker, started with the first child, stays
    before = len(os.listdir("/proc/self/fd"))
    for work in (child_work.accept, child_work.be_killed, child_work.raise_foreign):
        await runs.run(work)
    assert before == len(os.listdir("/proc/self/fd"))


async def test_the_list_of_jobs_is_bounded(start: Start) -> None:
    runs = await start()
    ended = [Job(id=f"old-{number}", asked_because="test") for number in range(300)]
    for job in ended:
        job.end("accepted", None)
    runs.retrainer.jobs = ended
    job = await runs.run()
    assert len(runs.retrainer.jobs) == 200
    assert job is runs.retrainer.jobs[-1] is runs.retrainer.find(job.id)
    with pytest.raises(UnknownJobError):
        runs.retrainer.find("old-0")


async def test_a_restart_recalls_the_runs_and_shows_what_was_cut_off(start: Start) -> None:
    first = await start()
    accepted = await first.run()
    cut_off = Job(id="cut-off", asked_because="test", status="running")
    Ledger(first.state).record(cut_off)
    second = await start()
    assert [(accepted.id, "accepted"), ("cut-off", "failed")] == [(job.id, job.status) for job in second.retrainer.jobs]
    assert second.retrainer.running is None
    assert second.retrainer.last is second.retrainer.find("cut-off")
    assert (await second.run()).status == "accepted"


async def test_a_ledger_that_cannot_be_written_keeps_nobody_from_training(start: Start) -> None:
    runs = await start()
    (runs.state / "jobs.jsonl").unlink()
    (runs.state / "jobs.jsonl").mkdir()
    assert (await runs.run()).status == "accepted"


_PARENT = """
import asyncio, sys
from pathlib import Path
import child_work
from recsys.jobs.ledger import Ledger
from recsys.jobs.retrain import Retrainer, RunLimits
from recsys.jobs.turns import alone
from recsys.training.plan import TrainingPlan

async def main(directory: Path) -> None:
    plan = TrainingPlan(models=directory / "models", sample=directory / "sample")
    retrainer = Retrainer(alone(lambda: plan), Ledger(directory), RunLimits(60, 512, 1), work=child_work.spin)
    await retrainer.open()
    retrainer.ask("test")
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_busy_child_is_gone_soon_after_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM without a handler ends a process as suddenly as SIGKILL."""
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(_PARENT))
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=os.environ | {"PYTHONPATH": path})
    try:
        file = tmp_path / "models" / "pid"
        deadline = time.monotonic() + _DEADLINE_S
        while not file.exists():
            assert time.monotonic() < deadline
            assert parent.poll() is None
            time.sleep(0.02)
        child = int(file.read_text())
        assert _is_alive(child)
    finally:
        parent.send_signal(number)
        parent.wait(10)
    deadline = time.monotonic() + 5
    while _is_alive(child):
        assert time.monotonic() < deadline, "an orphan works on"
        time.sleep(0.02)
