"""The quality gate: may this candidate go live by itself? A pure function of numbers; every check says value and
threshold.

Must not read files or fit anything: `training.pipeline` gathers what is compared.
"""

from dataclasses import dataclass

from recsys.artifacts.manifest import Check, Gate


@dataclass(frozen=True)
class Standing:
    """What the gate knows of a model: the headline metric with popularity's on the same split (None: not measurable),
    coverage, and the size of the data.
    """

    source: str
    headline: float | None
    popularity: float | None
    coverage: float | None
    n_ratings: int
    n_users: int
    n_items: int
    finite: bool = True


@dataclass(frozen=True)
class Limits:
    """How much worse than the incumbent is still accepted, as shares of the incumbent's value."""

    max_metric_drop: float = 0.10
    max_shrink: float = 0.20
    min_coverage: float = 0.01


def judge(candidate: Standing, incumbent: Standing | None, limits: Limits = Limits()) -> Gate:
    """Return the verdict on `candidate`. Without an incumbent, or with one trained on another source, the comparisons
    with it are left out. A popularity model (no headline) is judged by its data only.
    """
    checks = [Check(name="finite", passed=candidate.finite, detail="every array holds numbers only")]
    if candidate.headline is not None and candidate.popularity is not None:
        checks.append(_at_least("beats_popularity", candidate.headline, candidate.popularity))
    if candidate.coverage is not None:
        checks.append(_at_least("coverage", candidate.coverage, limits.min_coverage))
    if incumbent is not None and incumbent.source == candidate.source:
        if candidate.headline is not None and incumbent.headline is not None:
            least = (1 - limits.max_metric_drop) * incumbent.headline
            checks.append(_at_least("not_below_incumbent", candidate.headline, least))
        for name in ("n_ratings", "n_users", "n_items"):
            least = (1 - limits.max_shrink) * getattr(incumbent, name)
            checks.append(_at_least(f"{name[2:]}_not_shrunk", getattr(candidate, name), least))
    accepted = all(check.passed for check in checks)
    return Gate(verdict="accepted" if accepted else "rejected", checks=tuple(checks))


def _at_least(name: str, value: float, threshold: float) -> Check:
    return Check(name=name, passed=value >= threshold, value=float(value), threshold=float(threshold))
