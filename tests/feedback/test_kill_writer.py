"""`kill -9` of the process that takes in ratings, at any moment: every acknowledged one is there, none twice."""

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from busy_writer import rating
from stores import check_indexes, rows, settled

from recsys.feedback.store import FeedbackStore

CI_KILLS, ALL_KILLS = 8, 200


@pytest.mark.full
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_no_acknowledged_rating_is_lost_or_counted_twice(tmp_path: Path, full: bool) -> None:
    dice = random.Random(20240229)
    state = tmp_path / "state"
    acknowledged: set[int] = set()
    unknown: set[int] = set()
    for kill in range(ALL_KILLS if full else CI_KILLS):
        moment = f"kill {kill}"
        # mostly after some acknowledgements, at times while the process or the database is only being made
        lines = 0 if kill % 8 == 7 else dice.randrange(1, 600)
        delay_s = dice.uniform(0, 0.4 if lines == 0 else 0.005)
        told = run_until_killed(state, 10_000_000 + kill * 100_000, sorted(unknown), lines, delay_s)
        acknowledged |= told["ack"]
        unknown = (unknown | told["sent"]) - acknowledged

        if not (state / "feedback.sqlite").exists():
            assert not acknowledged, moment
            continue
        store = FeedbackStore(state)
        store.open()
        events = rows(store.events())
        check_indexes(store)
        n_settled = settled(store)
        store.close()
        numbers = Counter(int(event.item_id.removeprefix("item")) for event in events)
        assert set() == acknowledged - set(numbers), moment
        assert [number for number, times in numbers.items() if times > 1] == [], moment
        assert set() == set(numbers) - acknowledged - unknown, moment
        sequences = [event.sequence for event in events]
        assert sequences == sorted(set(sequences)), moment
        for event in events:
            sent = rating(int(event.item_id.removeprefix("item")))
            assert (sent.user_id, sent.value, sent.timestamp) == (event.user_id, event.value, event.timestamp), moment
    assert len(acknowledged) > 100
    assert n_settled > 100


def run_until_killed(state: Path, start: int, again: list[int], lines: int, delay_s: float) -> dict[str, set[int]]:
    """Run the writer, kill it some time after so many lines, and return the numbers that it sent and acknowledged."""
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(Path(__file__).with_name("busy_writer.py")), str(state), str(start)]
    process = subprocess.Popen([*command, *map(str, again)], env=environ, stdout=subprocess.PIPE)
    assert process.stdout is not None
    told: dict[str, set[int]] = {"sent": set(), "ack": set()}
    try:
        found = [process.stdout.readline() for _ in range(lines)]
        try:
            process.wait(delay_s)  # not to wait for anything: it is the moment itself
        except subprocess.TimeoutExpired:
            process.kill()
        found += process.stdout.readlines()
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    assert process.returncode == -9, "it ended by itself"
    for line in found:
        if line.endswith(b"\n"):
            kind, number = line.split()
            told[kind.decode()].add(int(number))
    return told
