"""Two loads by turns, block by block: latency beside something else against that alone, one server against another.

Ratios are taken within a block and their median counts, since a host that takes the processor away for seconds would
else decide what a whole run shows. Where the host says what it took, blocks in which that was much are measured again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.client import Outcome
from benchmarks.world import median, percentile

#: Of the processors' time, what the host may take in a block that is calm.
_CALM = 0.02
#: How many more blocks are measured to have as many calm ones as were wanted.
_MORE = 2.0


@dataclass(frozen=True)
class Pair:
    """One block: the load alone, and beside something; or any other two. `stolen` is the share of the processors that
    the host took, `calm` whether that was little.
    """

    quiet: Outcome
    busy: Outcome
    stolen: float
    calm: bool


def measure(
    blocks: int,
    runs: Callable[[int], tuple[Callable[[], Outcome], Callable[[], Outcome]]],
    *,
    calm: float = _CALM,
    more: float = _MORE,
) -> list[Pair]:
    """Measure `blocks` calm pairs, or what can be had in `more` times as many. `runs` gives the two halves of a block
    by its number. Where a block's p99 is to be read, `calm` must be well below a hundredth.
    """
    pairs: list[Pair] = []
    while sum(pair.calm for pair in pairs) < blocks and len(pairs) < more * blocks:
        quiet, busy = runs(len(pairs))
        stolen, total = _processor_time()
        if len(pairs) % 2 == 0:
            alone = quiet()
            beside = busy()
        else:
            beside = busy()
            alone = quiet()
        now_stolen, now_total = _processor_time()
        share = (now_stolen - stolen) / max(1, now_total - total)
        pairs.append(Pair(alone, beside, share, share <= calm))
    return pairs


def counted(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """The calm ones, if there are two at least; else all."""
    calm = [pair for pair in pairs if pair.calm]
    return calm if len(calm) >= 2 else pairs


def weather(pairs: Sequence[Pair]) -> dict[str, float]:
    """What a row says of how calm it was."""
    return {
        "blocks": len(pairs),
        "calm": sum(pair.calm for pair in pairs),
        "stolen": round(median([pair.stolen for pair in pairs]), 3),
    }


def latencies(pairs: Sequence[Pair]) -> tuple[dict[str, float | int | str], float]:
    """What a row says of pairs, and the ratio that counts."""
    quiet, busy = (
        [np.asarray(getattr(pair, side).latencies_ms) for pair in counted(pairs)] for side in ("quiet", "busy")
    )
    (quiet_p50, quiet_p99), (busy_p50, busy_p99) = (
        [median([percentile(block, share) for block in side]) for share in (50, 99)] for side in (quiet, busy)
    )
    ratios = sorted(percentile(b, 99) / percentile(q, 99) for q, b in zip(quiet, busy, strict=True))
    return {
        "p50_ms": round(busy_p50, 2),
        "p99_ms": round(busy_p99, 2),
        "quiet_p50_ms": round(quiet_p50, 2),
        "quiet_p99_ms": round(quiet_p99, 2),
        "p99_ratio": round(median(ratios), 2),
        "p99_ratios": " ".join(f"{ratio:.1f}" for ratio in ratios),
        "client_cpu": round(max(outcome.cpu_share for pair in pairs for outcome in (pair.quiet, pair.busy)), 2),
    } | weather(pairs), median(ratios)


def _processor_time() -> tuple[int, int]:
    """What the host took of all processors so far, and all of their time, in ticks."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)
