"""A version of 500 MB into a bucket and out of it, beside a bare client that asks the same server for the same.

The server is moto's, in a process of its own. The two sides take turns, each in a new process. Ours proves what it
sends and checks what it fetches; the bare client does neither: see `bucket_client`.
"""

import importlib.util
import json
import os
import shutil
import urllib.request
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks.processes import free_port
from benchmarks.world import Row, World, interleaved, median
from recsys.artifacts.files import write_durable
from recsys.artifacts.manifest import DataSummary, FileRecord, Gate, Manifest
from recsys.artifacts.store import ModelStore
from recsys.artifacts.version import Version

#: A model is one large matrix and some small files beside it.
_FILES = {"item_item.npy": 400_000_000, "weights.npy": 80_000_000, "history.npy": 15_000_000, "items.jsonl": 5_000_000}
#: The disk that is measured is the clients', not the server's.
_IN_MEMORY = {"MOTO_S3_DEFAULT_KEY_BUFFER_SIZE": str(2**30)}
_MIN_SHARE = 0.7
_MAX_MB = 250
_SIDES = ("ours", "plain")


def run(world: World) -> list[Row]:
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("aiobotocore") is None:
        world.say("bucket: left out; it needs the server that the tests use: run ./scripts/test once, it installs it")
        return []
    share = 0.2 if world.quick else 1.0
    models = world.directory / "models-bucket"
    n_bytes = _make_version(models, share)
    port = free_port()
    server = world.processes.start(["moto.server", "-H", "127.0.0.1", "-p", str(port)], port, _IN_MEMORY)
    server.wait_ready("/moto-api/", every_s=0.1)
    rates: dict[str, list[float]] = defaultdict(list)
    peaks: dict[str, list[float]] = defaultdict(list)

    def measure(side: str) -> None:
        endpoint, into = f"http://127.0.0.1:{port}", world.directory / "models-pulled"
        urllib.request.urlopen(f"{endpoint}/moto-api/reset", data=b"").close()
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/films", method="PUT")).close()
        environ = {
            "RECSYS_S3__BUCKET": "films",
            "RECSYS_S3__ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "not-a-secret",
            "AWS_REGION": "us-east-1",
        }
        printed, _, _ = world.processes.run(["benchmarks.bucket_client", side, str(models), str(into)], environ)
        shutil.rmtree(into)
        found = json.loads(printed)
        peaks[side].append(found.pop("peak_mb"))
        for name, seconds in found.items():
            rates[f"{side} {name}"].append(n_bytes / 1e6 / seconds)
        world.say(
            f"bucket: {side}: push {rates[f'{side} push_s'][-1]:.0f}, pull {rates[f'{side} pull_s'][-1]:.0f} MB/s"
        )

    interleaved(2 if world.quick else 3, [partial(measure, side) for side in _SIDES])
    server.stop()
    push, pull = (_row(name, rates, n_bytes) for name in ("push", "pull"))
    pull.measured["plain_to_memory_mb_s"] = round(median(rates["plain pull_to_memory_s"]))
    return [
        push,
        pull,
        Row(
            "bucket",
            "peak memory of a process that does both",
            {"mb": round(max(peaks["ours"])), "plain_mb": round(max(peaks["plain"]))},
            f"<= {_MAX_MB} MB",
            max(peaks["ours"]) <= _MAX_MB,
        ),
    ]


def _row(name: str, rates: dict[str, list[float]], n_bytes: int) -> Row:
    ours, plain = (median(rates[f"{side} {name}_s"]) for side in _SIDES)
    return Row(
        "bucket",
        f"{name} of a version of {n_bytes / 1e6:.0f} MB",
        {"mb_s": round(ours), "plain_mb_s": round(plain), "share": round(ours / plain, 2)},
        f">= {_MIN_SHARE:.0%} of a bare client",
        ours >= _MIN_SHARE * plain,
    )


def _make_version(models: Path, share: float) -> int:
    """Publish v1.0.0 with files that hold anything; returns their bytes."""

    def describe(version: Version, records: tuple[FileRecord, ...]) -> Manifest:
        return Manifest(
            version=str(version),
            created_at=datetime.now(UTC),
            algorithm="popularity",
            hyperparameters={},
            seed=0,
            libraries={},
            data=DataSummary(source="benchmark", fingerprint="", ratings=0, users=0, items=0),
            metrics={},
            gate=Gate(verdict="accepted"),
            golden=(),
            files=records,
        )

    store = ModelStore(models)
    store.ensure()
    with store.stage() as staged:
        for name, n_bytes in _FILES.items():
            write_durable(staged / name, os.urandom(int(n_bytes * share)))
        return store.publish(staged, None, describe).total_bytes
