"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from recsys.training.metrics import gains, mean_with_interval, ndcg, recall, share_with_interval


def test_ndcg_discounts_by_position_and_cuts_the_ideal_at_k() -> None:
    hits = gains(np.array([7, 3, 9]), np.array([3, 9, 1]))
    expected = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3) + 1 / np.log2(4))
    assert ndcg(hits, 3, 3) == pytest.approx(expected)
    assert ndcg(hits, 3, 2) == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_a_perfect_list_scores_one_and_an_empty_one_nothing() -> None:
    assert ndcg(np.array([True, True]), 2, 10) == pytest.approx(1.0)
    assert ndcg(np.array([], bool), 2, 10) == 0.0


def test_recall_divides_by_all_relevant_items_unless_cut() -> None:
    hits = np.array([True, False, True])
    assert recall(hits, 8, 3) == pytest.approx(2 / 8)
    assert recall(hits, 8, 3, cut=True) == pytest.approx(2 / 3)


def test_the_interval_narrows_with_more_users_and_holds_the_mean() -> None:
    values = np.random.default_rng(0).random(2000)
    few, many = mean_with_interval(values[:50]), mean_with_interval(values)
    assert few.low < few.value < few.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    estimates = [mean_with_interval(rng.random(200), seed=seed) for seed in range(200)]
    covered = sum(e.low <= 0.5 <= e.high for e in estimates) / 200
    assert 0.90 <= covered <= 0.99


def test_a_share_has_the_interval_of_wilson() -> None:
    estimate = share_with_interval(10, 100)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((0.1, 0.0552, 0.1744), abs=1e-4)
