"""Store, ingest and overlay together: what a restart and a restored database leave in memory."""

import asyncio
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recsys.errors import InvalidInputError
from recsys.feedback.changes import Outcome, PutRatings, Rating
from recsys.feedback.live import LiveFeedback


def rate(state: Path, *items: str, learned: int = 0) -> tuple[list[int], LiveFeedback]:
    """Start, rate `items` one after the other, stop; the sequences given, and the feedback for a look."""

    async def run() -> tuple[list[int], LiveFeedback]:
        feedback = LiveFeedback(state, clock=lambda: 1_000.0)
        await feedback.start(lambda store_id: learned)
        outcomes = [await feedback.submit(PutRatings((Rating("ann", item, 4.0),))) for item in items]
        await feedback.close(5)
        return [outcome.events[0].sequence for outcome in outcomes], feedback

    return asyncio.run(run())


def test_a_restart_knows_what_was_rated_before(tmp_path: Path) -> None:
    rate(tmp_path, "a", "b")
    sequences, feedback = rate(tmp_path, "c")

    assert sequences == [3]
    assert feedback.overlay.n_events == 3
    assert feedback.overlay.latest("ann") == 3


@pytest.mark.parametrize("n_ratings", [1, 100])
def test_what_cannot_be_stored_is_refused_and_nothing_of_it_kept(tmp_path: Path, n_ratings: int) -> None:
    """A few ratings are looked at on the loop, many in the thread that writes."""

    async def run() -> tuple[Outcome, LiveFeedback]:
        feedback = LiveFeedback(tmp_path)
        await feedback.start()
        ratings = tuple(Rating("ann", f"item{number}", 4.0) for number in range(n_ratings))
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            await feedback.submit(PutRatings((*ratings[1:], Rating("half a pair \ud83d", "a", 4.0))))
        outcome = await feedback.submit(PutRatings(ratings))
        await feedback.close(5)
        return outcome, feedback

    outcome, feedback = asyncio.run(run())

    assert outcome.accepted == feedback.overlay.n_events == n_ratings
    assert outcome.events[0].sequence == 1


def test_a_rating_without_a_time_is_of_its_arrival(tmp_path: Path) -> None:
    _, feedback = rate(tmp_path, "a")

    assert feedback.overlay.of_user("ann").timestamps.tolist() == [1_000]
    assert feedback.store.events().timestamps.tolist() == [1_000]


def test_after_a_restore_nothing_new_is_taken_for_learned(tmp_path: Path) -> None:
    rate(tmp_path, "a")
    shutil.copy(tmp_path / "feedback.sqlite", tmp_path / "backup")
    rate(tmp_path, "b", "c", "d")  # a model is trained up to 4, and then the disk dies
    for path in tmp_path.glob("feedback.sqlite*"):
        path.unlink()
    (tmp_path / "backup").rename(tmp_path / "feedback.sqlite")

    sequences, _ = rate(tmp_path, "e", learned=4)

    assert sequences == [5]


@pytest.mark.parametrize("n_written", [0, 1])
def test_a_start_after_a_kill_does_not_lock_itself_out(tmp_path: Path, n_written: int) -> None:
    """The log is brought in order by whoever comes first, and a start comes twice: it checks while it reads. One in
    thirty had the way in closed by that, for the first moments.
    """
    killed = tmp_path / "killed"
    code = f"""
import os, signal
from pathlib import Path
from recsys.feedback.changes import PutRatings, Rating
from recsys.feedback.store import FeedbackStore
store = FeedbackStore(Path({str(killed)!r}))
store.open()
for number in range({n_written}):
    store.write([PutRatings((Rating("ann", str(number), 4.0),))])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL

    async def problem(state: Path) -> str | None:
        feedback = LiveFeedback(state)
        await feedback.start()
        found = feedback.problem
        assert feedback.overlay.n_events == n_written
        await feedback.close(5)
        return found

    for number in range(150):
        state = shutil.copytree(killed, tmp_path / str(number))
        assert asyncio.run(problem(state)) is None, number
