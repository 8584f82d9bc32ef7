"""Percentiles, and how sure a figure is: bootstrap intervals, the same for the same values."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt


class Interval(msgspec.Struct, frozen=True):
    """A figure of some values, and the ends of its confidence interval."""

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

    Raises:
        ValueError: there are no values, or the percent is not between 0 and 100.
    """
    if not values:
        raise ValueError("no values")
    return float(np.percentile(values, percent))


def median(values: Sequence[float]) -> float:
    """The 50th percentile.

    Raises:
        ValueError: there are no values.
    """
    return percentile(values, 50)


def bootstrap(
    values: Sequence[float],
    percent: float = 50,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """A percentile with the percentile bootstrap's interval.

    For paired measurements, pass one value a pair (a ratio or a difference): the pairs are
    resampled, so what both of a pair share does not widen the interval.

    Args:
        values: at least one; with one, the interval is that value.
        percent: which percentile; the median unless given.
        confidence: of the interval, between 0 and 1.
        resamples: how often to draw.
        seed: of the draws.

    Raises:
        ValueError: there are no values, or the confidence is out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"{confidence:g} is no confidence")
    value = percentile(values, percent)
    drawn = np.asarray(values)[_draws(len(values), resamples, seed)]
    found = np.percentile(drawn, percent, axis=1)
    low, high = np.percentile(found, [50 * (1 - confidence), 50 * (1 + confidence)])
    return Interval(value, float(low), float(high))


@functools.lru_cache(maxsize=16)
def _draws(values: int, resamples: int, seed: int) -> npt.NDArray[np.intp]:
    """Which values each resample has: a report asks for the same draws a thousand times."""
    drawn = random.Random(seed).choices(range(values), k=resamples * values)
    found = np.array(drawn, np.intp).reshape(resamples, values)
    found.setflags(write=False)
    return found


def percent(fraction: float) -> str:
    """A fraction as the report writes it."""
    # Adding 0 makes 0 of -0.
    return f"{round(100 * fraction, 1) + 0.0:.1f} %"


def percents(interval: Interval) -> str:
    """A fraction with its interval, in percent."""
    low, high = (percent(end).removesuffix(" %") for end in (interval.low, interval.high))
    return f"{percent(interval.value)} [{low}, {high}]"
