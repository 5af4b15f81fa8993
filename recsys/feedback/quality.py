"""How well recommendations do with people: click-through by model version and strategy, with how sure it is.

Pure.
"""

import math
from collections.abc import Mapping
from typing import Any

_Z_95 = 1.959964


def click_through(counts: Mapping[tuple[str, str, str], int]) -> list[dict[str, Any]]:
    """Turn counts by (version, strategy, kind) into a row for each version and strategy, in their order."""
    kinds: dict[tuple[str, str], dict[str, int]] = {}
    for (version, strategy, kind), count in counts.items():
        kinds.setdefault((version, strategy), {})[kind] = count
    rows = []
    for (version, strategy), found in kinds.items():
        impressions, clicks = found.get("impression", 0), found.get("click", 0)
        low, high = wilson(clicks, impressions)
        share = min(1.0, clicks / impressions) if impressions else None
        rows.append(
            {
                "model_version": version,
                "strategy": strategy,
                "impressions": impressions,
                "clicks": clicks,
                "watches": found.get("watch", 0),
                "click_through": {"value": share, "low": low, "high": high},
            }
        )
    return rows


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share: (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n), (0, 1) of nothing.

    A click may be reported without its impression; then more than all counts as all. Source: Wilson, "Probable
    Inference, the Law of Succession, and Statistical Inference", JASA 1927.
    """
    if trials == 0:
        return 0.0, 1.0
    share, z2 = min(1.0, successes / trials), _Z_95**2
    middle = share + z2 / (2 * trials)
    spread = _Z_95 * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    scale = 1 + z2 / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)
