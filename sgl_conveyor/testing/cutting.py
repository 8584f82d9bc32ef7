"""Where a text is cut into the pieces in which it arrives."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    """A text cut at these positions; never an empty piece."""
    ends = sorted({min(max(cut, 0), len(text)) for cut in cuts} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(ends)]


def cuts(text: str) -> SearchStrategy[list[int]]:
    """A hypothesis strategy: positions at which to cut this text."""
    from hypothesis import strategies as st

    return st.lists(st.integers(1, max(1, len(text) - 1)), unique=True).map(sorted)


def every_cut(text: str) -> Iterator[list[int]]:
    """The cuts that find most faults: none, one at each place, and one between all characters."""
    yield []
    yield from ([place] for place in range(1, len(text)))
    yield list(range(1, len(text)))
