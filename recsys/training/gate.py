"""The quality gate: may this candidate go live by itself? A pure function of numbers; every check says value and
threshold.

Must not read files or fit anything: `training.pipeline` gathers what is compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from recsys.artifacts.manifest import Check, Gate


@dataclass(frozen=True)
class Standing:
    """What the gate knows of a model: the headline metric with popularity's on the same split (None: not measurable),
    coverage, the size of the data, and the share of ratings that each value has.
    """

    source: str
    headline: float | None
    popularity: float | None
    coverage: float | None
    n_ratings: int
    n_users: int
    n_items: int
    finite: bool = True
    rating_shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """How much worse than the incumbent is still accepted, as shares of the incumbent's value."""

    max_metric_drop: float = 0.10
    max_shrink: float = 0.20
    min_coverage: float = 0.01
    max_rating_shift: float = 0.20
    min_golden_overlap: float = 0.10
    max_metric_rise: float = 0.50
    max_popularity_drop: float = 0.50


@dataclass(frozen=True)
class Comparison:
    """What is measured of candidate and incumbent together: the headline of the incumbent's recipe on the candidate's
    split (None: it is the same recipe), and the share of the incumbent's golden lists that the candidate keeps (None:
    there is nothing to compare).
    """

    recipe_headline: float | None = None
    golden_overlap: float | None = None


def judge(
    candidate: Standing,
    incumbent: Standing | None,
    limits: Limits = Limits(),
    comparison: Comparison = Comparison(),
) -> Gate:
    """Return the verdict on `candidate`. Without an incumbent, or with one trained on another source, the comparisons
    with it are left out. A popularity model (no headline) is judged by its data only.

    `golden_lists_kept` catches what no metric can: items whose ids or titles were mixed up give the same figures and
    wrong films. `not_far_above_incumbent` catches what is too good to be true: with scrambled times the test leaks
    into training, and NDCG@10 on ml-100k goes from .22 to .36. `popularity_not_below_incumbent` catches bots that push
    unknown films.
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
            most = (1 + limits.max_metric_rise) * incumbent.headline
            checks.append(_at_most("not_far_above_incumbent", candidate.headline, most))
        if candidate.popularity is not None and incumbent.popularity is not None:
            least = (1 - limits.max_popularity_drop) * incumbent.popularity
            checks.append(_at_least("popularity_not_below_incumbent", candidate.popularity, least))
        if candidate.headline is not None and comparison.recipe_headline is not None:
            least = (1 - limits.max_metric_drop) * comparison.recipe_headline
            checks.append(_at_least("not_below_incumbent_recipe", candidate.headline, least))
        for name in ("n_ratings", "n_users", "n_items"):
            least = (1 - limits.max_shrink) * getattr(incumbent, name)
            checks.append(_at_least(f"{name[2:]}_not_shrunk", getattr(candidate, name), least))
        if candidate.rating_shares and incumbent.rating_shares:
            shift = total_variation(candidate.rating_shares, incumbent.rating_shares)
            checks.append(_at_most("rating_values_not_shifted", shift, limits.max_rating_shift))
        if comparison.golden_overlap is not None:
            checks.append(_at_least("golden_lists_kept", comparison.golden_overlap, limits.min_golden_overlap))
    accepted = all(check.passed for check in checks)
    return Gate(verdict="accepted" if accepted else "rejected", checks=tuple(checks))


def total_variation(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return ½·Σ|p − q|, the share of ratings that would have to change their value to turn one into the other."""
    return sum(abs(one.get(value, 0.0) - other.get(value, 0.0)) for value in {*one, *other}) / 2


def _at_most(name: str, value: float, threshold: float) -> Check:
    passed = value <= threshold
    return Check(name=name, passed=passed, value=float(value), threshold=float(threshold), at_most=True)


def _at_least(name: str, value: float, threshold: float) -> Check:
    return Check(name=name, passed=value >= threshold, value=float(value), threshold=float(threshold))
