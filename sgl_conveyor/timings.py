"""When things happened in a call, and what follows from it at once."""

from __future__ import annotations

import msgspec


class UnitTiming(msgspec.Struct, frozen=True, array_like=True):
    """When one unit was certain, when its hook started and when it ended (seconds)."""

    ready: float
    started: float
    ended: float


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Work beside the hooks, in a task or another tool: what, and its start and end (seconds).

    Args:
        label: what the tool calls it.
        started, ended: when.
        unit: the number of the unit whose hook began it; -1 for `open`, the count of units for
            `finish`.
    """

    label: str
    started: float
    ended: float
    unit: int


class Timings(msgspec.Struct, kw_only=True):
    """When things happened in a call, in seconds since the client sent its POST.

    Args:
        partial: whether the tool was fed while decoding; if not, its text was held until
            `region_end`, though each unit keeps the time at which it was certain.
        queued: the request was handed to the scheduler.
        first_token: the commit of the first token.
        tokens: the commit of each token.
        units: each unit's `UnitTiming`.
        spans: work beside the hooks, as the tool declared it with `span`.
        open_started, opened: the hook `open`.
        region_end: the commit of the finishing token, EOS included.
        finish_started: the hook `finish`.
        finished: the result was there.
    """

    partial: bool = True
    queued: float | None = None
    first_token: float | None = None
    tokens: list[float] = []
    units: list[UnitTiming] = []
    spans: list[Span] = []
    open_started: float | None = None
    opened: float | None = None
    region_end: float | None = None
    finish_started: float | None = None
    finished: float | None = None

    @property
    def decode(self) -> float | None:
        """Seconds from the first token's commit to the region's end."""
        return _span(self.first_token, self.region_end)

    @property
    def tool(self) -> float:
        """Seconds in which a hook, or declared work beside the hooks, ran."""
        work = [(unit.started, unit.ended) for unit in self.units]
        work += [(span.started, span.ended) for span in self.spans]
        for start, end in (
            (self.open_started, self.opened),
            (self.finish_started, self.finished),
        ):
            if start is not None and end is not None:
                work.append((start, end))
        return _length_of_union(work)

    @property
    def exposed(self) -> float | None:
        """Seconds that the program waits for the tool after the region's end."""
        return _span(self.region_end, self.finished)

    @property
    def hidden(self) -> float | None:
        """Seconds of the tool that ran while the region was still being decoded."""
        exposed = self.exposed
        return None if exposed is None else max(0.0, self.tool - exposed)

    def dispatch(self) -> list[float]:
        """Seconds from each unit's certainty to its hook, without queueing behind earlier units."""
        return [u.started - max(u.ready, free) for u, free in self._with_free()]

    def queueing(self) -> list[float]:
        """Seconds that each unit, already certain, waited for the tool's own earlier work."""
        return [max(0.0, free - u.ready) for u, free in self._with_free()]

    def _with_free(self) -> list[tuple[UnitTiming, float]]:
        """Each unit with the time at which the tool was free for it."""
        free = max(self.opened or 0.0, 0.0 if self.partial else self.region_end or 0.0)
        pairs = []
        for unit in self.units:
            pairs.append((unit, free))
            free = unit.ended
        return pairs


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _length_of_union(intervals: list[tuple[float, float]]) -> float:
    """The length of what at least one interval covers."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
