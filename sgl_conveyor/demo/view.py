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


def frame(title: str, text: str, timings: Timings, *, ended: bool) -> RenderableType:
    """One picture of a call.

    Args:
        title: which run this is.
        text: what is decoded so far.
        timings: the call's, so far.
        ended: whether the result is there.
    """
    code = Syntax(text or " ", "python", theme="ansi_dark", word_wrap=True)
    left = Panel(code, title=f"decoded: {len(timings.tokens)} tokens", width=_WIDTH)
    right = Panel(_statements(text, timings, ended=ended), title="executed", width=_WIDTH)
    return Group(Text(title, style="bold"), Columns([left, right]))


def _statements(text: str, timings: Timings, *, ended: bool) -> Text:
    """Each statement that has begun, with the time that it took; the next one in waiting."""
    splitter = StatementSplitter()
    sources = splitter.feed(text)
    if timings.region_end is not None:
        sources += splitter.close()
    lines = Text()
    for number, source in enumerate(sources):
        first = source.splitlines()[0][: _WIDTH - 18]
        if number < len(timings.units):
            unit = timings.units[number]
            lines.append(f"✓ {unit.ended - unit.started:6.2f} s  ", style="green")
        elif number == len(timings.units) and not ended:
            lines.append("…          ", style="yellow")
        else:
            lines.append("·          ", style="dim")
        lines.append(first + "\n")
    return lines
