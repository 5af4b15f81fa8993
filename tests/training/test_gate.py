"""The verdict, as a table of what the gate is shown."""

from dataclasses import replace

import pytest

from recsys.training.gate import Comparison, Limits, Standing, judge, total_variation

_GOOD = Standing("ratings", 0.20, 0.10, 0.3, 100_000, 1000, 2000)


def _failed(candidate: Standing, incumbent: Standing | None) -> list[str]:
    gate = judge(candidate, incumbent)
    failed = [check.name for check in gate.checks if not check.passed]
    assert gate.verdict == ("rejected" if failed else "accepted")
    return failed


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        ({}, []),
        ({"finite": False}, ["finite"]),
        ({"headline": 0.09}, ["beats_popularity", "not_below_incumbent"]),
        ({"headline": 0.179}, ["not_below_incumbent"]),
        ({"headline": 0.181}, []),
        ({"coverage": 0.001}, ["coverage"]),
        ({"n_ratings": 79_000}, ["ratings_not_shrunk"]),
        ({"n_users": 700}, ["users_not_shrunk"]),
        ({"n_items": 1500}, ["items_not_shrunk"]),
        ({"n_ratings": 200_000, "n_users": 2000, "n_items": 4000}, []),
    ],
)
def test_verdict_beside_an_incumbent(change: dict[str, float], failed: list[str]) -> None:
    assert failed == _failed(replace(_GOOD, **change), _GOOD)


def test_the_first_version_is_compared_with_popularity_only() -> None:
    assert _failed(replace(_GOOD, n_ratings=10), None) == []
    assert _failed(replace(_GOOD, headline=0.05), None) == ["beats_popularity"]


def test_another_source_is_not_held_against_the_incumbent() -> None:
    assert _failed(replace(_GOOD, source="mine", n_ratings=10, headline=0.12), _GOOD) == []


def test_data_too_small_to_measure_is_not_refused_for_it() -> None:
    assert _failed(replace(_GOOD, headline=None, popularity=None, coverage=None), None) == []


def test_every_check_says_what_it_saw_and_what_it_wanted() -> None:
    checks = {check.name: check for check in judge(_GOOD, _GOOD, Limits(max_metric_drop=0.25)).checks}
    assert checks["not_below_incumbent"].value == pytest.approx(0.20)
    assert checks["not_below_incumbent"].threshold == pytest.approx(0.15)


_SHARES = {"3": 0.3, "4": 0.4, "5": 0.3}


@pytest.mark.parametrize(
    ("comparison", "failed"),
    [
        (Comparison(), []),
        (Comparison(recipe_headline=0.20, golden_overlap=0.5), []),
        (Comparison(recipe_headline=0.223), ["not_below_incumbent_recipe"]),
        (Comparison(recipe_headline=0.222), []),
        (Comparison(golden_overlap=0.099), ["golden_lists_kept"]),
        (Comparison(golden_overlap=0.10), []),
        (Comparison(golden_overlap=0.0), ["golden_lists_kept"]),
    ],
)
def test_verdict_on_what_is_measured_of_both_together(comparison: Comparison, failed: list[str]) -> None:
    checks = judge(_GOOD, _GOOD, comparison=comparison).checks
    assert failed == [check.name for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("shares", "failed"),
    [
        (_SHARES, []),
        ({}, []),
        ({"3": 0.15, "4": 0.4, "5": 0.45}, []),
        ({"3": 0.05, "4": 0.4, "5": 0.55}, ["rating_values_not_shifted"]),
        ({"5": 1.0}, ["rating_values_not_shifted"]),
        ({"6": 0.3, "8": 0.4, "10": 0.3}, ["rating_values_not_shifted"]),
    ],
)
def test_verdict_on_the_values_of_ratings(shares: dict[str, float], failed: list[str]) -> None:
    assert failed == _failed(replace(_GOOD, rating_shares=shares), replace(_GOOD, rating_shares=_SHARES))


def test_an_incumbent_that_recorded_no_values_is_no_reason_to_refuse() -> None:
    assert _failed(replace(_GOOD, rating_shares=_SHARES), _GOOD) == []


def test_another_source_leaves_out_every_comparison() -> None:
    candidate = replace(_GOOD, source="mine", rating_shares={"5": 1.0})
    incumbent = replace(_GOOD, rating_shares=_SHARES)
    gate = judge(candidate, incumbent, comparison=Comparison(recipe_headline=0.9, golden_overlap=0.0))
    assert [check.name for check in gate.checks] == ["finite", "beats_popularity", "coverage"]


def test_as_good_as_popularity_is_good_enough() -> None:
    assert _failed(replace(_GOOD, headline=0.1, popularity=0.1), None) == []


def test_one_failed_check_is_enough_and_the_others_are_still_told() -> None:
    gate = judge(replace(_GOOD, n_users=1), _GOOD)
    assert gate.verdict == "rejected"
    assert len(gate.checks) == len(judge(_GOOD, _GOOD).checks)


@pytest.mark.parametrize(
    ("limits", "candidate", "verdict"),
    [
        (Limits(max_shrink=0.0), replace(_GOOD, n_ratings=99_999), "rejected"),
        (Limits(max_shrink=1.0), replace(_GOOD, n_ratings=1), "accepted"),
        (Limits(max_metric_drop=0.0), replace(_GOOD, headline=0.1999), "rejected"),
        (Limits(max_metric_drop=1.0), replace(_GOOD, headline=0.11), "accepted"),
        (Limits(min_coverage=0.5), _GOOD, "rejected"),
        (Limits(min_coverage=0.0), replace(_GOOD, coverage=0.0), "accepted"),
    ],
)
def test_the_operator_s_limits_are_the_thresholds(limits: Limits, candidate: Standing, verdict: str) -> None:
    assert verdict == judge(candidate, _GOOD, limits).verdict


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, 0.0),
        ({"5": 1.0}, {"5": 1.0}, 0.0),
        ({"5": 1.0}, {"4": 1.0}, 1.0),
        ({"4": 0.5, "5": 0.5}, {"5": 1.0}, 0.5),
        ({"1": 0.2, "2": 0.8}, {"1": 0.5, "2": 0.5}, 0.3),
    ],
)
def test_total_variation_is_the_share_that_would_have_to_change(
    one: dict[str, float], other: dict[str, float], expected: float
) -> None:
    assert expected == pytest.approx(total_variation(one, other))
    assert total_variation(other, one) == pytest.approx(expected)
