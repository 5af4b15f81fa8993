"""Ratings: how many are taken in, what reading pays for it (`reading.py`), an answer with many new ones, a million.

Run as `python -m benchmarks.ratings STATE ROWS ITEMS`, it imports so many ratings of items whose ids are in the JSON
file ITEMS, and prints how long that took.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import reading
from benchmarks.client import Job
from benchmarks.reading import FIRST_TIME, PATH, RATINGS_S, WRITERS, single_ratings, sound
from benchmarks.world import Row, World, median, percentile, recommendations_of
from recsys.feedback.database import FILE_NAME
from recsys.feedback.importing import Row as ImportedRow
from recsys.feedback.importing import import_ratings
from recsys.feedback.store import FeedbackStore

_WRITES = 250_000
_NEW_RATINGS = 500
_A_BATCH = 1000
_IMPORTED, _FEW_IMPORTED = 1_000_000, 100_000
_IMPORTED_USERS = 50_000

_MAX_ADDED_MS = 1.0
_MAX_IMPORT_S = 60.0
_MAX_IMPORT_GROWTH_MB = 20.0
_MAX_START_S = 3.0


def run(world: World) -> list[Row]:
    return [_accepted(world), *reading.run(world), _added(world), *_million(world)]


def _accepted(world: World) -> Row:
    server = world.serve()
    world.client.keep("single ratings", single_ratings(world, world.users(), _WRITES))
    rounds, seconds = (3, 1.0) if world.quick else (5, 3.0)
    outcomes, cpu, sent = [], [], 0
    for number in range(rounds):
        world.say(f"ratings: single ones, {number + 1} of {rounds}")
        before = server.cpu_s
        outcomes.append(sound(world.client.run(Job(server.port, "single ratings", seconds, WRITERS, start=sent))))
        cpu.append((server.cpu_s - before) / outcomes[-1].seconds)
        sent += outcomes[-1].answered + WRITERS
        if sent > _WRITES:
            raise RuntimeError("ratings: too few requests were made beforehand")
    fsync_ms = _fsync_ms(server.state)
    server.stop()
    rates = [outcome.rate for outcome in outcomes]
    latencies = np.concatenate([np.asarray(outcome.latencies_ms) for outcome in outcomes])
    return Row(
        "ratings",
        f"single, acknowledged, {WRITERS} connections, fsync on",
        {
            "ratings_s": round(median(rates)),
            "low": round(min(rates)),
            "high": round(max(rates)),
            "p50_ms": round(percentile(latencies, 50), 1),
            "p99_ms": round(percentile(latencies, 99), 1),
            "fsync_ms": round(fsync_ms, 2),
            "server_cpu": round(median(cpu), 2),
            "client_cpu": round(max(outcome.cpu_share for outcome in outcomes), 2),
        },
        f">= {RATINGS_S}/s",
        median(rates) >= RATINGS_S,
    )


def _added(world: World) -> Row:
    """The first answer to a user with many new ratings, and to one without any, by turns on one connection."""
    world.say(f"ratings: an answer with {_NEW_RATINGS} new ones")
    users, items = world.users(), world.servable().contents.catalogue.item_ids
    random, n_pairs = world.random(), min(len(users) // 2, 50 if world.quick else 300)
    server = world.serve()
    drawn = [users[number] for number in random.permutation(len(users))[: 2 * n_pairs]]
    n_new = min(_NEW_RATINGS, len(items))
    new = [
        {"user_id": user, "item_id": items[item], "rating": 1 + item % 5, "timestamp": FIRST_TIME + number}
        for user in drawn[::2]
        for number, item in enumerate(random.permutation(len(items))[:n_new].tolist())
    ]
    for start in range(0, len(new), _A_BATCH):
        status, answer = server.ask(PATH, json.dumps({"ratings": new[start : start + _A_BATCH]}).encode())
        if status != 200:
            raise RuntimeError(f"{PATH} answers {status}: {answer[:300]!r}")
    world.client.keep("by turns", recommendations_of(drawn))
    world.client.keep("others", recommendations_of(set(users) - set(drawn)))
    world.client.run(Job(server.port, "others", 0.5, 1))
    outcome = sound(world.client.run(Job(server.port, "by turns", 3.0, 1)))
    server.stop()
    first = np.asarray(outcome.latencies_ms[: len(drawn)])
    if first.size < len(drawn):
        raise RuntimeError("ratings: too slow to ask everybody")
    many, none = first[::2], first[1::2]
    added_ms = median(many) - median(none)
    return Row(
        "ratings",
        f"first answer to a user with {n_new} new ones",
        {
            "p50_ms": round(median(many), 3),
            "p99_ms": round(percentile(many, 99), 3),
            "without_p50_ms": round(median(none), 3),
            "without_p99_ms": round(percentile(none, 99), 3),
            "added_ms": round(added_ms, 3),
            "pairs": n_pairs,
        },
        f"<= {_MAX_ADDED_MS:g} ms added",
        added_ms <= _MAX_ADDED_MS,
    )


def _million(world: World) -> list[Row]:
    state, few = world.directory / "state-million", world.directory / "state-few"
    items = world.directory / "items.json"
    items.write_text(json.dumps(world.servable().contents.catalogue.item_ids))
    world.say(f"ratings: import of {_FEW_IMPORTED:,}")
    _, few_mb = _import(world, few, _FEW_IMPORTED, items)
    world.say(f"ratings: import of {_IMPORTED:,}")
    import_s, peak_mb = _import(world, state, _IMPORTED, items)
    seconds, rss_mb = [], []
    for number in range(1 if world.quick else 3):
        world.say(f"ratings: start with them, {number + 1}")
        started = time.perf_counter()
        server = world.processes.recsys(world.trained(), state=state, ready=False)
        server.wait_ready("/health/ready", every_s=0.005)
        seconds.append(time.perf_counter() - started)
        rss_mb.append(server.rss_mb)
        found = json.loads(server.ask("/health")[1])["feedback"]["ratings"]
        if found != _IMPORTED:
            raise RuntimeError(f"{_IMPORTED} ratings were imported, {found} are there")
        server.stop()
    return [
        Row(
            "ratings",
            f"import of {_IMPORTED:,}",
            {
                "seconds": round(import_s, 1),
                "ratings_s": round(_IMPORTED / import_s),
                "database_mb": round((state / FILE_NAME).stat().st_size / 2**20),
            },
            f"<= {_MAX_IMPORT_S:g} s",
            import_s <= _MAX_IMPORT_S,
        ),
        Row(
            "ratings",
            "peak memory of an import",
            {"peak_mb": round(peak_mb), f"with_{_FEW_IMPORTED}_mb": round(few_mb)},
            f"<= {_MAX_IMPORT_GROWTH_MB:g} MB more than with a tenth",
            peak_mb - few_mb <= _MAX_IMPORT_GROWTH_MB,
        ),
        Row(
            "ratings",
            f"process start to ready, {_IMPORTED:,} of {_IMPORTED_USERS:,} users in the overlay",
            {
                "median_s": round(median(seconds), 2),
                "all_s": [round(s, 2) for s in seconds],
                "ready_mb": round(median(rss_mb)),
            },
            f"<= {_MAX_START_S:g} s",
            median(seconds) <= _MAX_START_S,
        ),
    ]


def _import(world: World, state: Path, n_rows: int, items: Path) -> tuple[float, float]:
    """Seconds, and peak memory in MB, of a process that imports."""
    printed, _, peak_mb = world.processes.run(["benchmarks.ratings", str(state), str(n_rows), str(items)], {})
    return float(printed), peak_mb


def _fsync_ms(directory: Path) -> float:
    """What the disk of a directory takes for a page, beside everything else."""
    path, taken = directory / "bench-fsync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(bytes(4096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    path.unlink()
    return median(taken) * 1e3


def _rows(n_rows: int, item_ids: list[str]) -> Iterator[ImportedRow]:
    """No user rates an item twice, and each comes back now and then, as in a log of a service."""
    for number in range(n_rows):
        turn, user = divmod(number, _IMPORTED_USERS)
        item = item_ids[(31 * user + turn) % len(item_ids)]
        yield f"user-{user}", item, 1.0 + number % 5, FIRST_TIME + number


def main(state: Path, n_rows: int, items: Path) -> None:
    item_ids = json.loads(items.read_text())
    store = FeedbackStore(state)
    store.open()
    started = time.perf_counter()
    imported = import_ratings(store, _rows(n_rows, item_ids))
    print(time.perf_counter() - started)
    store.close()
    if imported.added != n_rows:
        raise RuntimeError(f"{imported} of {n_rows}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
