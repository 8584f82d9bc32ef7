"""What several test files use."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

#: How much a property is tried; no example has a time limit, since the machine may be busy.
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

#: Where something is cut into pieces; see `cut`.
cut_points = st.lists(st.integers(0, 300), max_size=12)


def cut(whole: Sequence[Any], points: list[int]) -> list[Any]:
    """A text or list in consecutive pieces, some of them empty."""
    inner = sorted(min(point, len(whole)) for point in points)
    return [whole[start:end] for start, end in pairwise([0, *inner, len(whole)])]
