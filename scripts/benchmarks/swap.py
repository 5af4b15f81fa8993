"""Swaps under constant load at half the saturation rate, beside the same load without swaps, by turns.

Two models with different answers take turns, so an answer that mixes versions is seen, whatever its header says.
"""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.beside import Pair, latencies, measure
from benchmarks.client import Job, Outcome
from benchmarks.processes import Server
from benchmarks.world import Row, World, copy_version, median, recommendations_of

_CONNECTIONS = 32
_SWAPS_IN_A_BLOCK = 5
#: A version is published this long after the one before, or once that one is served if it takes longer.
_PERIOD_S = 2.0
_SERVED_LIMIT_S = 10.0
_SETTLE_S = 5.0


@dataclass
class _Swaps:
    """The versions made so far, and how long each took from its rename to the first answer by it."""

    models: Path
    sources: tuple[Path, Path]
    patch: int = 0
    served_s: list[float] = field(default_factory=list)
    not_served: int = 0

    def stage(self, count: int) -> list[Path]:
        """Copy the next versions into the staging folder, alternating between the two models by parity."""
        staging = self.models / ".staging"
        staging.mkdir(exist_ok=True)
        staged = []
        for number in range(self.patch + 1, self.patch + count + 1):
            staged.append(staging / f"v1.0.{number}")
            copy_version(self.sources[number % 2], staged[-1], f"v1.0.{number}")
        return staged

    def forget_old(self) -> None:
        for path in self.models.glob("v*"):
            if path.name != f"v1.0.{self.patch}":
                shutil.rmtree(path)


def run(world: World) -> list[Row]:
    models = world.directory / "models-swap"
    models.mkdir()
    swaps = _Swaps(models, (world.trained() / "v1.0.0", world.trained("other") / "v1.0.0"))
    copy_version(swaps.sources[0], models / "v1.0.0", "v1.0.0")
    server = world.processes.recsys(models)
    users = world.users()
    world.client.keep("users in order", recommendations_of(users))
    endings = _endings(world, server, swaps, users)
    before_mb = _settled_mb(server)
    rates: list[float] = []

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        swaps.forget_old()
        # measured again for each block, or work beside this one would make half the rate more than there is
        rate = world.client.run(Job(server.port, "users in order", 2.0, _CONNECTIONS, 0)).rate / 2
        rates.append(rate)
        world.say(f"swap: block {number + 1}, {_SWAPS_IN_A_BLOCK} swaps at {rate:.0f} requests/s")
        staged = swaps.stage(_SWAPS_IN_A_BLOCK)
        seconds = _SWAPS_IN_A_BLOCK * _PERIOD_S / 2
        steady = Job(server.port, "users in order", seconds, _CONNECTIONS, number * 101, rate, True, endings)
        return lambda: world.client.run(steady), lambda: _swapping(
            world, replace(steady, seconds=600.0, until_told=True), swaps, staged
        )

    pairs = measure(4 if world.quick else 40, block)
    after_mb = _settled_mb(server)
    server.stop()
    return _rows(pairs, swaps, median(rates), (before_mb, after_mb))


def _swapping(world: World, job: Job, swaps: _Swaps, staged: list[Path]) -> Outcome:
    """Publish one version after the other under load, each when the one before is served."""
    client = world.client
    client.start(job)
    client.seen(_SERVED_LIMIT_S)
    renamed = time.monotonic()
    for path in staged:
        time.sleep(max(0.0, renamed + _PERIOD_S - time.monotonic()))
        path.rename(swaps.models / path.name)
        renamed = time.monotonic()
        swaps.patch += 1
        while (found := client.seen(_SERVED_LIMIT_S)) is not None and found[0] != path.name:
            pass
        if found is None:
            swaps.not_served += 1
        else:
            swaps.served_s.append(found[1] - renamed)
    time.sleep(max(0.0, renamed + _PERIOD_S - time.monotonic()))
    client.tell_to_end()
    return client.wait()


def _endings(world: World, server: Server, swaps: _Swaps, users: tuple[str, ...]) -> tuple[list[bytes], list[bytes]]:
    """What each of the two models answers each user, from "strategy" on."""
    even = [_ending(server, user) for user in users]
    (staged,) = swaps.stage(1)
    staged.rename(swaps.models / staged.name)
    swaps.patch += 1
    deadline = time.monotonic() + _SERVED_LIMIT_S
    while json.loads(server.ask("/health")[1])["model_version"] != staged.name:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{staged.name} is not served")
        time.sleep(0.02)
    odd = [_ending(server, user) for user in users]
    different = sum(a != b for a, b in zip(even, odd, strict=True))
    if different < len(users) / 2:
        raise RuntimeError(f"the two models give {different} of {len(users)} users different answers: too few to tell")
    return even, odd


def _ending(server: Server, user: str) -> bytes:
    body = server.ask(f"/api/v1/users/{user}/recommendations?n=10")[1]
    return body[body.index(b'"strategy"') :]


def _settled_mb(server: Server) -> float:
    """Resident memory once it stands still for half a second."""
    deadline = time.monotonic() + _SETTLE_S
    last, since = server.rss_mb, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < 0.5:
        time.sleep(0.05)
        if abs(server.rss_mb - last) > 0.5:
            last, since = server.rss_mb, time.monotonic()
    return server.rss_mb


def _rows(pairs: Sequence[Pair], swaps: _Swaps, rate: float, memory_mb: tuple[float, float]) -> list[Row]:
    everything = [outcome for pair in pairs for outcome in (pair.quiet, pair.busy)]
    failed = sum(outcome.failed for outcome in everything)
    inconsistent = sum(outcome.inconsistent for outcome in everything)
    reason = next((outcome.first_failure for outcome in everything if outcome.first_failure), "")
    said, ratio = latencies(pairs)
    before_mb, after_mb = memory_mb
    return [
        Row(
            "swap",
            "every answer whole and of one version",
            {
                "swaps": len(swaps.served_s),
                "answers": sum(outcome.answered for outcome in everything),
                "failed": failed,
                "inconsistent": inconsistent,
            }
            | ({"first": reason} if reason else {}),
            "0 failed, 0 inconsistent",
            failed == inconsistent == swaps.not_served == 0,
        ),
        Row(
            "swap",
            "latency at half the saturation rate",
            {"requests_s": round(rate)} | said,
            "p99 <= 2 x that without swaps, median of the blocks",
            ratio <= 2.0,
        ),
        Row(
            "swap",
            "from rename to first answer",
            {"p50_s": round(median(swaps.served_s), 3), "max_s": round(max(swaps.served_s), 3)},
            "<= 1 s",
            max(swaps.served_s) <= 1.0,
        ),
        Row(
            "swap",
            "resident memory",
            {"before_mb": round(before_mb, 1), "after_mb": round(after_mb, 1)},
            "back to where it was (+ 10 %)",
            after_mb <= before_mb * 1.1,
        ),
    ]
