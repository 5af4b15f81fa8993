"""One process of this service against four workers of the design it replaces, under the same load, by turns."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds

from benchmarks.beside import counted, measure, weather
from benchmarks.client import Job, Outcome
from benchmarks.processes import Server, free_port
from benchmarks.world import Row, World, median, percentile, recommendations_of

_WORKERS = 4
_DIMENSIONS = 64
_TARGET = 3.5


def run(world: World) -> list[Row]:
    world.say("design: factors for the four workers")
    ours, theirs = world.serve(), _start_theirs(world, _write_factors(world))
    users = world.users()
    drawn = world.random().integers(len(users), size=20_000)
    world.client.keep("drawn users", recommendations_of(users[i] for i in drawn))
    for server in (ours, theirs):
        world.client.run(Job(server.port, "drawn users", 0.5))
    rows = [_compare(world, ours, theirs, connections) for connections in (32, 64)]
    rows.append(_memory(ours, theirs))
    ours.stop()
    theirs.stop()
    return rows


def _compare(world: World, ours: Server, theirs: Server, connections: int) -> Row:
    world.say(f"design: {connections} connections")
    blocks, seconds = (4, 0.6) if world.quick else (12, 1.0)

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        us, them = (
            partial(world.client.run, Job(server.port, "drawn users", seconds, connections, number * 4_001))
            for server in (ours, theirs)
        )
        return us, them

    pairs = measure(blocks, block)
    outcomes = [[pair.quiet for pair in counted(pairs)], [pair.busy for pair in counted(pairs)]]
    ratios = [a.rate / b.rate for a, b in zip(*outcomes, strict=True)]
    p50, p99 = ([median(percentile(o.latencies_ms, share) for o in side) for side in outcomes] for share in (50, 99))
    failed = [sum(pair.quiet.failed for pair in pairs), sum(pair.busy.failed for pair in pairs)]
    return Row(
        "design",
        f"{connections} connections",
        {
            "requests_s": round(median(o.rate for o in outcomes[0])),
            "fastapi_requests_s": round(median(o.rate for o in outcomes[1])),
            "ratio": round(median(ratios), 2),
            "ratio_low": round(min(ratios), 2),
            "ratio_high": round(max(ratios), 2),
            "p50_ms": round(p50[0], 2),
            "fastapi_p50_ms": round(p50[1], 2),
            "p99_ms": round(p99[0], 2),
            "fastapi_p99_ms": round(p99[1], 2),
            "failed": failed[0],
            "fastapi_failed": failed[1],
            "client_cpu": round(max(o.cpu_share for o in outcomes[0]), 2),
        }
        | weather(pairs),
        f">= {_TARGET} x, p99 no worse",
        median(ratios) >= _TARGET and p99[0] <= p99[1] and not any(failed),
    )


def _memory(ours: Server, theirs: Server) -> Row:
    return Row(
        "design",
        "resident memory, all processes",
        {"mb": round(ours.group_rss_mb), "fastapi_mb": round(theirs.group_rss_mb)},
    )


def _start_theirs(world: World, factors: Path) -> Server:
    port = free_port()
    server = world.processes.start(
        ["uvicorn", "benchmarks.fastapi_design:app", "--host", "127.0.0.1", "--port", str(port), "--workers",
         str(_WORKERS), "--no-access-log", "--log-level", "warning"],
        port,
        {"BENCH_FACTORS": str(factors), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    server.wait_ready(f"/api/v1/users/{world.users()[0]}/recommendations?n=10")
    return server


def _write_factors(world: World) -> Path:
    """Factor the ratings R ≈ U·S·Vᵀ with 64 dimensions, and write U·S, V and the catalogue for the workers."""
    contents = world.servable().contents
    catalogue = contents.catalogue
    shape = (len(contents.user_ids), catalogue.n_items)
    ratings = csr_array((contents.history_values, contents.history_items, contents.history_indptr), shape=shape)
    u, s, vt = svds(ratings.astype(np.float32), k=_DIMENSIONS, random_state=0)
    directory = world.directory / "factors"
    directory.mkdir()
    np.save(directory / "users.npy", np.ascontiguousarray(u * s, np.float32))
    np.save(directory / "items.npy", np.ascontiguousarray(vt.T, np.float32))
    np.save(directory / "seen_items.npy", contents.history_items)
    np.save(directory / "seen_starts.npy", contents.history_indptr)
    columns = zip(catalogue.item_ids, catalogue.titles, catalogue.years, catalogue.genres, strict=True)
    items = [dict(zip(("item_id", "title", "year", "genres"), row, strict=True)) for row in columns]
    (directory / "items.json").write_text(json.dumps(items))
    (directory / "users.json").write_text(json.dumps(contents.user_ids))
    return directory
