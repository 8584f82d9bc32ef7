"""Percentiles and intervals, against what is known of them."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analyse.statistics import Interval, bootstrap, percentile


def normal(seed: int, mean: float = 0.0, deviation: float = 1.0) -> list[float]:
    """Twenty values of a normal distribution."""
    draw = random.Random(seed)
    return [draw.gauss(mean, deviation) for _ in range(20)]


VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def test_percentiles_are_interpolated() -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], 0) == 1
    assert percentile([4.0, 1.0, 3.0, 2.0], 100) == 4
    assert percentile([4.0, 1.0, 3.0, 2.0], 50) == 2.5
    assert percentile([10.0], 99) == 10
    assert percentile([float(n) for n in range(101)], 90) == 90


@given(VALUES)
def test_the_50th_percentile_is_the_median(values: list[float]) -> None:
    assert percentile(values, 50) == pytest.approx(statistics.median(values), abs=1e-6)


@given(VALUES, st.floats(0, 100), st.floats(0, 100))
def test_percentiles_grow_with_the_percent(values: list[float], one: float, two: float) -> None:
    assert percentile(values, min(one, two)) <= percentile(values, max(one, two)) + 1e-6


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
    with pytest.raises(ValueError, match="Percentiles"):
        percentile([1.0], 101)
    with pytest.raises(ValueError, match="no values"):
        bootstrap([])
    with pytest.raises(ValueError, match="confidence"):
        bootstrap([1.0], confidence=1)


def test_the_same_values_give_the_same_interval() -> None:
    values = normal(1)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)


def test_values_that_do_not_vary_leave_no_doubt() -> None:
    assert bootstrap([2.0] * 10) == Interval(2, 2, 2)
    assert bootstrap([3.0]) == Interval(3, 3, 3)


def test_a_wider_confidence_gives_a_wider_interval() -> None:
    values = normal(2)
    half, nearly_all = bootstrap(values, confidence=0.5), bootstrap(values, confidence=0.99)
    assert nearly_all.low < half.low <= half.value <= half.high < nearly_all.high


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    hits = 0
    for seed in range(200):
        interval = bootstrap(normal(seed, 10, 2), confidence=0.9, resamples=200)
        hits += interval.low <= 10 <= interval.high
    assert 0.8 <= hits / 200 <= 0.97


def test_an_interval_in_another_unit() -> None:
    assert Interval(0.5, 0.25, 1).scaled(1000) == Interval(500, 250, 1000)
    assert str(Interval(0.5, 0.25, 1)) == "0.5 [0.25, 1]"
