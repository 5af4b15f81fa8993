"""The verdict, as a table of what the gate is shown."""

from dataclasses import replace

import pytest

from recsys.training.gate import Limits, Standing, judge

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
