"""A call's timings in Chrome's trace event format, which Perfetto opens (https://ui.perfetto.dev).

One row a place: `http`, `engine`, `tool` and `work`, the work beside the hooks, with a row more for
each span that overlaps others. What waits behind the tool's earlier work may overlap anything, so
it is an asynchronous slice a unit.

Two things have no slice of their own, for a call's timings do not hold them. Queue and prefill are
one: SGLang shows the tap when it was given the request and when the first token was committed, not
when it took the request from its queue. And the hook `abort` is not timed: it runs after the
result, so no program waits for it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from sgl_conveyor.timings import Span, Timings, UnitTiming

_ROWS = ("http", "engine", "tool", "work")
_HTTP, _ENGINE, _TOOL, _WORK = range(1, len(_ROWS) + 1)

#: What an event says beside its name and times.
Args = dict[str, str | int | float | bool]


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="ph"):
    name: str
    pid: int = 1
    tid: int
    args: Args = {}


class Slice(_Event, frozen=True, kw_only=True, tag="X"):
    """Something that took time: it began at `ts` and lasted `dur` (microseconds)."""

    cat: str
    ts: float
    dur: float


class Instant(_Event, frozen=True, kw_only=True, tag="i"):
    """Something that happened at `ts` (microseconds)."""

    cat: str
    ts: float
    #: Its scope: its row.
    s: str = "t"


class Begin(_Event, frozen=True, kw_only=True, tag="b"):
    """An asynchronous slice begins at `ts` (microseconds); `id` joins it with its end."""

    cat: str
    id: int
    ts: float


class End(_Event, frozen=True, kw_only=True, tag="e"):
    """An asynchronous slice ends at `ts` (microseconds)."""

    cat: str
    id: int
    ts: float


class Metadata(_Event, frozen=True, kw_only=True, tag="M"):
    """What a viewer calls a row, or where it puts it."""


Event = Slice | Instant | Begin | End | Metadata


class ChromeTrace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A trace: `msgspec.to_builtins` makes plain dictionaries of it, `save` a file."""

    trace_events: list[Event]
    display_time_unit: str = "ms"

    def save(self, path: str | Path) -> None:
        """Write it as JSON.

        Args:
            path: of the file, which is replaced.

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_bytes(msgspec.json.encode(self))


def chrome_trace(timings: Timings, name: str = "call") -> ChromeTrace:
    """Show a call as rows of slices; what did not happen is left out.

    Args:
        timings: the call's; t = 0 is the client's POST.
        name: what the viewer calls it.
    """
    work, rows = _work(timings)
    names = [*_ROWS, *(f"work {number}" for number in range(2, rows + 1))]
    metadata = [Metadata(name="process_name", tid=0, args={"name": name})]
    for tid, row in enumerate(names, 1):
        metadata.append(Metadata(name="thread_name", tid=tid, args={"name": row}))
        metadata.append(Metadata(name="thread_sort_index", tid=tid, args={"sort_index": tid}))
    return ChromeTrace(
        trace_events=[*metadata, *_http(timings), *_engine(timings), *_tool(timings), *work]
    )


def _http(timings: Timings) -> list[Event]:
    events: list[Event] = []
    if timings.queued is not None:
        events.append(_slice(_HTTP, "request", "http", 0.0, timings.queued))
    exposed = timings.exposed
    if exposed and timings.region_end is not None and timings.finished is not None:
        waits = "program waits for the tool"
        events.append(_slice(_HTTP, waits, "http", timings.region_end, timings.finished))
    if timings.finished is not None:
        events.append(_instant(_HTTP, "result", "http", timings.finished))
    return events


def _engine(timings: Timings) -> list[Event]:
    events: list[Event] = []
    first = timings.first_token
    if timings.queued is not None and first is not None:
        events.append(_slice(_ENGINE, "queue and prefill", "engine", timings.queued, first))
    if timings.tokens:
        events.append(_instant(_ENGINE, "token 1", "token", timings.tokens[0]))
    for number, (before, commit) in enumerate(
        zip(timings.tokens, timings.tokens[1:], strict=False), 2
    ):
        events.append(_slice(_ENGINE, f"token {number}", "token", before, commit))
    if timings.region_end is not None:
        events.append(_instant(_ENGINE, "region ends", "engine", timings.region_end))
    return events


def _tool(timings: Timings) -> list[Event]:
    events: list[Event] = []
    if timings.open_started is not None:
        events.append(_hook("open", timings.open_started, timings.opened))
    waits = zip(timings.units, timings.queueing(), timings.dispatch(), strict=True)
    for number, (unit, queueing, dispatch) in enumerate(waits, 1):
        if queueing > 0:
            events += _wait(number, unit, queueing, held=not timings.partial)
        args: Args = {
            "ready_ms": 1e3 * unit.ready,
            "queueing_ms": 1e3 * queueing,
            "dispatch_ms": 1e3 * dispatch,
        }
        events.append(_slice(_TOOL, f"unit {number}", "tool", unit.started, unit.ended, args))
    if timings.finish_started is not None:
        events.append(_hook("finish", timings.finish_started, timings.finished))
    return events


def _wait(number: int, unit: UnitTiming, queueing: float, *, held: bool) -> list[Event]:
    until = _us(unit.ready + queueing)
    args: Args = {"unit": number, "held_until_the_region_ends": held}
    return [
        Begin(name="unit waits", cat="wait", id=number, tid=_TOOL, ts=_us(unit.ready), args=args),
        End(name="unit waits", cat="wait", id=number, tid=_TOOL, ts=until),
    ]


def _work(timings: Timings) -> tuple[list[Event], int]:
    """The spans, each in the first row where nothing runs any more, and the count of rows."""
    events: list[Event] = []
    free: list[float] = [0.0]
    for span in sorted(timings.spans, key=lambda span: (span.started, span.ended)):
        row = next((row for row, at in enumerate(free) if at <= span.started), len(free))
        free[row : row + 1] = [span.ended]
        begun_by: Args = {"begun_by": _begun_by(span, len(timings.units))}
        tid = _WORK + row
        events.append(_slice(tid, span.label, "work", span.started, span.ended, begun_by))
    return events, len(free)


def _begun_by(span: Span, units: int) -> str:
    if span.unit < 0:
        return "open"
    return f"unit {span.unit + 1}" if span.unit < units else "finish"


def _hook(name: str, started: float, ended: float | None) -> Event:
    if ended is None:
        return _instant(_TOOL, f"{name} begins", "tool", started)
    return _slice(_TOOL, name, "tool", started, ended)


def _slice(
    tid: int, name: str, cat: str, started: float, ended: float, args: Args | None = None
) -> Slice:
    ts = _us(started)
    duration = max(0.0, round(_us(ended) - ts, 3))
    return Slice(name=name, cat=cat, tid=tid, ts=ts, dur=duration, args=args or {})


def _instant(tid: int, name: str, cat: str, at: float) -> Instant:
    return Instant(name=name, cat=cat, tid=tid, ts=_us(at))


def _us(seconds: float) -> float:
    """Microseconds, in whole nanoseconds: rounding must not make neighbours overlap."""
    return round(1e6 * seconds, 3)
