"""Ratings: how many are taken in, what reading pays for it, an answer with many new ones, a million of them.

Run as `python -m benchmarks.ratings STATE ROWS ITEMS`, it imports so many ratings of items whose ids are in the JSON
file ITEMS, and prints how long that took.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.beside import latencies, measure
from benchmarks.client import Job, Outcome
from benchmarks.processes import LoadClient, Server
from benchmarks.world import Row, World, median, percentile, post, recommendations_of
from recsys.feedback.database import FILE_NAME
from recsys.feedback.importing import Row as ImportedRow
from recsys.feedback.importing import import_ratings
from recsys.feedback.store import FeedbackStore

_WRITERS, _READERS = 64, 32
_PATH = "/api/v1/ratings"
_WRITES = 250_000
_NEW_RATINGS = 500
_A_BATCH = 1000
_IMPORTED, _FEW_IMPORTED = 1_000_000, 100_000
_IMPORTED_USERS = 50_000
_FIRST_TIME = 1_600_000_000

_MIN_RATINGS_S = 2_000
_MAX_P99_RATIO = 2.0
_MAX_ADDED_MS = 1.0
_MAX_IMPORT_S = 60.0
_MAX_IMPORT_GROWTH_MB = 20.0
_MAX_START_S = 3.0


def run(world: World) -> list[Row]:
    server = world.serve()
    world.client.keep("single ratings", _single_ratings(world))
    accepted, most_s, sent = _accepted(world, server)
    beside = _beside(world, server, most_s / 2, sent)
    server.stop()
    return [accepted, beside, _added(world), *_million(world)]


def _single_ratings(world: World) -> list[bytes]:
    """No two alike, half of them of users whom the model knows, each with a name of its own."""
    random, items = world.random(), world.servable().contents.catalogue.item_ids
    users = [*world.users(), *(f"new-{number}" for number in range(len(world.users())))]
    found = []
    for number in range(_WRITES):
        user, item = users[random.integers(len(users))], items[random.integers(len(items))]
        rating = {"user_id": user, "item_id": item, "rating": 1 + number % 5, "timestamp": _FIRST_TIME + number}
        found.append(post(_PATH, json.dumps({"ratings": [rating | {"event_id": f"bench-{number}"}]}).encode()))
    return found


def _accepted(world: World, server: Server) -> tuple[Row, float, int]:
    """The row, the rate, and how many of the requests were used."""
    rounds, seconds = (3, 1.0) if world.quick else (5, 3.0)
    outcomes, cpu, sent = [], [], 0
    for number in range(rounds):
        world.say(f"ratings: single ones, {number + 1} of {rounds}")
        before = server.cpu_s
        outcomes.append(_sound(world.client.run(Job(server.port, "single ratings", seconds, _WRITERS, start=sent))))
        cpu.append((server.cpu_s - before) / outcomes[-1].seconds)
        sent += outcomes[-1].answered + _WRITERS
        if sent > _WRITES:
            raise RuntimeError("ratings: too few requests were made beforehand")
    rates = [outcome.rate for outcome in outcomes]
    latencies = np.concatenate([np.asarray(outcome.latencies_ms) for outcome in outcomes])
    row = Row(
        "ratings",
        f"single, acknowledged, {_WRITERS} connections, fsync on",
        {
            "ratings_s": round(median(rates)),
            "low": round(min(rates)),
            "high": round(max(rates)),
            "p50_ms": round(percentile(latencies, 50), 1),
            "p99_ms": round(percentile(latencies, 99), 1),
            "fsync_ms": round(_fsync_ms(server.state), 2),
            "server_cpu": round(median(cpu), 2),
            "client_cpu": round(max(outcome.cpu_share for outcome in outcomes), 2),
        },
        f">= {_MIN_RATINGS_S}/s",
        median(rates) >= _MIN_RATINGS_S,
    )
    return row, median(rates), sent


def _beside(world: World, server: Server, writes_s: float, sent: int) -> Row:
    """Recommendations at half of what the server can answer beside ratings of the same users that come in at half of
    *their* saturation rate; and at the same rate without them.
    """
    blocks, seconds = (4, 3.0) if world.quick else (10, 4.0)
    world.client.keep("readers", recommendations_of(world.users()))
    writer = world.processes.client()
    writer.keep("single ratings", _single_ratings(world))
    written: list[Outcome] = []
    rates: list[float] = []

    def beside_writes(reads: Job) -> Outcome:
        nonlocal sent
        with _writing(server, writer, writes_s, sent) as wrote:
            outcome = world.client.run(reads)
        written.extend(wrote)
        sent += wrote[-1].answered + _WRITERS
        return _sound(outcome)

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        world.say(f"ratings: beside recommendations, block {number + 1}")
        # measured again for each block, or work beside this one would make half the rate more than there is
        rates.append(beside_writes(Job(server.port, "readers", 1.0, _READERS)).rate / 2)
        reads = Job(server.port, "readers", seconds, _READERS, number * 101, rates[-1])
        return lambda: _sound(world.client.run(reads)), lambda: beside_writes(reads)

    said, ratio = latencies(measure(blocks, block))
    return Row(
        "ratings",
        "recommendations at half the saturation rate, while ratings come in",
        {
            "requests_s": round(median(rates)),
            "ratings_s": round(median(outcome.rate for outcome in written)),
        }
        | said,
        f"p99 <= {_MAX_P99_RATIO:g} x that without, median of the blocks",
        ratio <= _MAX_P99_RATIO,
    )


@contextmanager
def _writing(server: Server, writer: LoadClient, writes_s: float, start: int) -> Iterator[list[Outcome]]:
    """Have ratings come in meanwhile; what became of them is in the list afterwards."""
    wrote: list[Outcome] = []
    writer.start(Job(server.port, "single ratings", 60.0, _WRITERS, start, writes_s, until_told=True))
    yield wrote
    writer.tell_to_end()
    wrote.append(_sound(writer.wait()))


def _added(world: World) -> Row:
    """The first answer to a user with many new ratings, and to one without any, by turns on one connection."""
    world.say(f"ratings: an answer with {_NEW_RATINGS} new ones")
    users, items = world.users(), world.servable().contents.catalogue.item_ids
    random, n_pairs = world.random(), min(len(users) // 2, 50 if world.quick else 300)
    server = world.serve()
    drawn = [users[number] for number in random.permutation(len(users))[: 2 * n_pairs]]
    n_new = min(_NEW_RATINGS, len(items))
    new = [
        {"user_id": user, "item_id": items[item], "rating": 1 + item % 5, "timestamp": _FIRST_TIME + number}
        for user in drawn[::2]
        for number, item in enumerate(random.permutation(len(items))[:n_new].tolist())
    ]
    for start in range(0, len(new), _A_BATCH):
        status, answer = server.ask(_PATH, json.dumps({"ratings": new[start : start + _A_BATCH]}).encode())
        if status != 200:
            raise RuntimeError(f"{_PATH} answers {status}: {answer[:300]!r}")
    world.client.keep("by turns", recommendations_of(drawn))
    world.client.keep("others", recommendations_of(set(users) - set(drawn)))
    world.client.run(Job(server.port, "others", 0.5, 1))
    outcome = _sound(world.client.run(Job(server.port, "by turns", 3.0, 1)))
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


def _sound(outcome: Outcome) -> Outcome:
    if outcome.failed:
        raise RuntimeError(f"ratings: {outcome.failed} requests failed, the first with {outcome.first_failure}")
    return outcome


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
        yield f"user-{user}", item, 1.0 + number % 5, _FIRST_TIME + number


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
