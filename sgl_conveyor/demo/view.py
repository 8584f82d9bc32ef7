"""The live view: tokens as they are decoded beside statements as they execute."""

from __future__ import annotations

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.syntax import Syntax
from rich.text import Text

from sgl_conveyor.timings import Timings
from sgl_conveyor.units.statements import StatementSplitter

_WIDTH = 58


def frame(title: str, text: str, timings: Timings, *, partial: bool, ended: bool) -> RenderableType:
    """One picture of a call.

    Args:
        title: which run this is.
        text: what is decoded so far.
        timings: the call's, so far.
        partial: whether statements begin before all is decoded.
        ended: whether the result is there.
    """
    code = Syntax(text or " ", "python", theme="ansi_dark", word_wrap=True)
    left = Panel(code, title=f"decoded: {len(timings.tokens)} tokens", width=_WIDTH)
    begun = not ended and (partial or timings.region_end is not None)
    right = Panel(_statements(text, timings, begun=begun), title="executed", width=_WIDTH)
    return Group(Text(title, style="bold"), Columns([left, right]))


def _statements(text: str, timings: Timings, *, begun: bool) -> Text:
    """Each statement, with the time that it took in the tool; one runs if they have begun."""
    splitter = StatementSplitter()
    sources = splitter.feed(text)
    if timings.region_end is not None:
        sources += splitter.close()
    lines = Text()
    for number, source in enumerate(sources):
        first = source.splitlines()[0][: _WIDTH - 18]
        if number < len(timings.units):
            unit = timings.units[number]
            # No tick: after a statement that fails the tool takes the others and does nothing.
            lines.append(f"{unit.ended - unit.started:8.2f} s  ", style="green")
        elif number == len(timings.units) and begun:
            lines.append("…           ", style="yellow")
        else:
            lines.append("·           ", style="dim")
        lines.append(first + "\n")
    return lines
