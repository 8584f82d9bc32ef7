"""Percentiles, and how sure a figure is: bootstrap intervals, the same for the same values."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """A figure and its confidence interval.

    Args:
        value: the statistic of the values themselves.
        low, high: the ends of the interval.
    """

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Interval:
        """In another unit, by a positive factor."""
        return Interval(factor * self.value, factor * self.low, factor * self.high)

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which so many percent lie, interpolated between neighbours.

    Args:
        values: at least one, in any order.
        percent: 0 (the least) to 100 (the greatest).

    Raises:
        ValueError: there are no values, or the percent is out of range.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent:g} is no percentage")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below, part = math.floor(place), place % 1
    if not part:
        return ordered[below]
    return ordered[below] + part * (ordered[below + 1] - ordered[below])


def p90(values: Sequence[float]) -> float:
    """The 90th percentile."""
    return percentile(values, 90)


def bootstrap(
    values: Sequence[float],
    statistic: Callable[[Sequence[float]], float] = statistics.median,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A statistic with the percentile bootstrap's interval.

    For paired measurements, pass one value a pair (a ratio or a difference): the pairs are
    resampled, so what both of a pair share does not widen the interval.

    Args:
        values: at least one; with one, the interval is that value.
        statistic: of a sample; the median unless given.
        confidence: of the interval, between 0 and 1.
        resamples: how often to draw.
        seed: of the draws.

    Raises:
        ValueError: there are no values, or the confidence is out of range.
    """
    if not values:
        raise ValueError("no values")
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence:g} is no confidence")
    draw = random.Random(seed)
    drawn = [statistic(draw.choices(values, k=len(values))) for _ in range(resamples)]
    outside = 50 * (1 - confidence)
    return Interval(
        float(statistic(values)), percentile(drawn, outside), percentile(drawn, 100 - outside)
    )


def percent(fraction: float) -> str:
    """A fraction as the report writes it."""
    # Adding 0 makes 0 of -0.
    return f"{round(100 * fraction, 1) + 0.0:.1f} %"


def percents(interval: Interval) -> str:
    """A fraction with its interval, in percent."""
    ends = (interval.value, interval.low, interval.high)
    value, low, high = (round(100 * end, 1) + 0.0 for end in ends)
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]"
