"""What a call's timings say in one sentence: how much was hidden, how much could have been, why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sgl_conveyor.theory.model import Trace, predict
from sgl_conveyor.theory.schedule import OPENING, REGION_END
from sgl_conveyor.timings import Timings

#: What a program may wait after the region's end before it is worth a reason.
_NOTHING_S = 0.001

Obstacle = Literal["nothing", "opening", "unit", "beside", "finish", "held", "overhead"]


@dataclass(frozen=True)
class Hidden:
    """Where a call's tool time went, in seconds.

    Args:
        tool: all of it.
        hidden: what ran while the region was decoded.
        could_be_hidden: what could have, with these arrivals and costs, an opening that starts at
            the POST, and no overhead.
        exposed: what the program waited after the region's end.
        obstacle: what stood in the way of hiding the rest: the `opening`; a `unit` that came
            late for its cost, or work `beside` the hooks; the tool's `finish`; the text, `held`
            back until the region's end; the `overhead` of dispatch.
        index: the unit's, or the span's, index.
        text: all this, in a sentence.
    """

    tool: float
    hidden: float
    could_be_hidden: float
    exposed: float
    obstacle: Obstacle
    index: int | None
    text: str

    def __str__(self) -> str:
        return self.text


def explain(timings: Timings) -> Hidden:
    """Say how much of a call's tool time was hidden, how much could have been, and why not all.

    Args:
        timings: those of a call that has ended.

    Raises:
        ValueError: the call has not ended, or its times are not of one clock.
    """
    tool = timings.tool
    if timings.finished is None:
        raise ValueError("the call has no end")
    if timings.region_end is None or timings.finished < timings.region_end:
        text = f"The call ended at {timings.finished:.3f} s, before its region was complete."
        return Hidden(tool, tool, tool, 0.0, "nothing", None, text)
    exposed = timings.finished - timings.region_end
    hidden = max(0.0, tool - exposed)
    trace = Trace.from_timings(timings)
    ideal = predict(trace)
    least = ideal.bound - timings.region_end
    could = min(tool, max(hidden, tool - least))
    obstacle, index = _obstacle(timings, trace, exposed, max(0.0, exposed - least))
    why = "" if obstacle == "nothing" else f": {_sentence(obstacle, index, timings, trace)}"
    text = (
        f"{hidden:.3f} s of {tool:.3f} s of tool time ran while the region was decoded, "
        f"{could:.3f} s could have; the program waited {exposed:.3f} s after the region's end{why}."
    )
    return Hidden(tool, hidden, could, exposed, obstacle, index, text)


def _obstacle(
    timings: Timings, trace: Trace, exposed: float, lost: float
) -> tuple[Obstacle, int | None]:
    if exposed <= _NOTHING_S:
        return "nothing", None
    if lost > exposed / 2:
        return ("overhead" if timings.partial else "held"), None
    critical = predict(trace).critical
    if critical == OPENING:
        return "opening", None
    if critical == REGION_END:
        return "finish", None
    units = len(timings.units)
    return ("unit", critical) if critical < units else ("beside", critical - units)


def _sentence(obstacle: Obstacle, index: int | None, timings: Timings, trace: Trace) -> str:
    match obstacle:
        case "opening":
            return f"the tool was open only at {trace.opened:.3f} s"
        case "finish":
            return f"finish itself took {trace.finish:.3f} s"
        case "held":
            return "the text was held back until then"
        case "overhead":
            return "its hooks started later than they could have"
    assert index is not None
    if obstacle == "beside":
        span = timings.spans[index]
        return f"{span.label!r}, beside the hooks, ended only at {span.ended:.3f} s"
    before = trace.end - trace.arrivals[index]
    left = predict(trace).bound - trace.finish - trace.arrivals[index]
    return (
        f"unit {index + 1} of {len(timings.units)} was certain {before:.3f} s before it, "
        f"with {left:.3f} s of work from there on"
    )
