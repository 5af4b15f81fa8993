"""Swaps under constant load at half the saturation rate, beside the same load without swaps, by turns: 2.5 seconds with
a swap in them, as long without. In so short a time the host leaves the processors alone now and then, and one freeze of
20 ms is all that the slowest hundredth of it can hold.

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
_SWAPS = 200
_QUICK_SWAPS = 20
#: How long each half of a block takes: a version is published a little after the load began, and the one before it is
#: freed a second after that is served.
_PERIOD_S = 2.5
_LEAD_S = 0.3
#: Of both processors in a block: two ticks of the kernel's clock.
_CALM = 0.0025
#: What there is changes by half within seconds on a shared host, and half of what there was may be all there is: the
#: rate is found anew for every block.
_RATE_S = 1.0
_SAID_EVERY = 10
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

    def stage(self) -> Path:
        """Copy the next version into the staging folder, from one and the other model by turns."""
        staging = self.models / ".staging"
        staging.mkdir(exist_ok=True)
        number = self.patch + 1
        staged = staging / f"v1.0.{number}"
        copy_version(self.sources[number % 2], staged, staged.name)
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
    wanted = _QUICK_SWAPS if world.quick else _SWAPS

    def block(number: int) -> tuple[Callable[[], Outcome], Callable[[], Outcome]]:
        swaps.forget_old()
        staged = swaps.stage()
        rates.append(world.client.run(Job(server.port, "users in order", _RATE_S, _CONNECTIONS, 0)).rate / 2)
        if number % _SAID_EVERY == 0:
            world.say(f"swap: {number} swaps of {wanted}, {rates[-1]:.0f} requests/s")
        steady = Job(server.port, "users in order", _PERIOD_S, _CONNECTIONS, number * 101, rates[-1], True, endings)
        return lambda: world.client.run(steady), lambda: _swapping(
            world, replace(steady, seconds=60.0, until_told=True), swaps, staged
        )

    pairs = measure(wanted, block, calm=_CALM, more=1)
    after_mb = _settled_mb(server)
    server.stop()
    return _rows(pairs, swaps, median(rates), (before_mb, after_mb))


def _swapping(world: World, job: Job, swaps: _Swaps, staged: Path) -> Outcome:
    """Publish a version under load."""
    client = world.client
    client.start(job)
    client.seen(_SERVED_LIMIT_S)
    began = time.monotonic()
    time.sleep(_LEAD_S)
    staged.rename(swaps.models / staged.name)
    renamed = time.monotonic()
    swaps.patch += 1
    while (found := client.seen(_SERVED_LIMIT_S)) is not None and found[0] != staged.name:
        pass
    if found is None:
        swaps.not_served += 1
    else:
        swaps.served_s.append(found[1] - renamed)
    time.sleep(max(0.0, began + _PERIOD_S - time.monotonic()))
    client.tell_to_end()
    return client.wait()


def _endings(world: World, server: Server, swaps: _Swaps, users: tuple[str, ...]) -> tuple[list[bytes], list[bytes]]:
    """What each of the two models answers each user, from "strategy" on."""
    even = [_ending(server, user) for user in users]
    staged = swaps.stage()
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
            "p99 <= 2 x that without swaps, median of the swaps",
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
