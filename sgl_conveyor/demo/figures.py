"""The demo's figures: from the runs' timings to a table and a file."""

from __future__ import annotations

import statistics
from pathlib import Path

import msgspec
from rich.table import Table

from sgl_conveyor.core import ToolError
from sgl_conveyor.timings import Timings


class Spread(msgspec.Struct, frozen=True):
    """Median, least and greatest of some seconds."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.min:.2f} to {self.max:.2f})"


class Dispatch(msgspec.Struct, frozen=True):
    """Milliseconds from the commit of the token that made a unit certain to its hook."""

    p50: float
    p99: float
    units: int


class Run(msgspec.Struct, frozen=True):
    """One run of the program.

    Args:
        partial: its mode.
        latency_s: from the POST to the result in the program's hand.
        timings: the server's.
        error: of the program, if it failed.
    """

    partial: bool
    latency_s: float
    timings: Timings
    error: ToolError | None = None


class Figures(msgspec.Struct, frozen=True):
    """What the demo measured (seconds, milliseconds, and a fraction of 1)."""

    sequential_s: Spread
    partial_s: Spread
    decode_s: Spread
    tool_s: Spread
    reduction: float
    dispatch_ms: Dispatch


def figures_of(runs: list[Run]) -> Figures:
    """The figures of runs of both modes."""
    sequential = Spread.of([run.latency_s for run in runs if not run.partial])
    partial = Spread.of([run.latency_s for run in runs if run.partial])
    waits = sorted(1e3 * s for run in runs if run.partial for s in run.timings.dispatch())
    return Figures(
        sequential_s=sequential,
        partial_s=partial,
        decode_s=Spread.of([run.timings.decode or 0.0 for run in runs]),
        tool_s=Spread.of([run.timings.tool for run in runs]),
        reduction=1.0 - partial.median / sequential.median,
        dispatch_ms=Dispatch(percentile(waits, 0.5), percentile(waits, 0.99), len(waits)),
    )


def percentile(ordered: list[float], fraction: float) -> float:
    """The nearest-rank percentile of sorted values; 0 of none."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def table_of(figures: Figures) -> Table:
    """The figures as the demo prints them."""
    table = Table(title="CodeGen, replayed: the same tokens in both modes")
    table.add_column("")
    table.add_column("median (min to max)", justify="right")
    table.add_row("decode time, s", str(figures.decode_s))
    table.add_row("tool time, s", str(figures.tool_s))
    table.add_row("latency, sequential, s", str(figures.sequential_s))
    table.add_row("latency, partial, s", str(figures.partial_s), style="bold")
    table.add_row("reduction", f"{figures.reduction:.1%}", style="bold")
    dispatch = figures.dispatch_ms
    table.add_row(
        f"token to hook, ms (p50, p99 of {dispatch.units})",
        f"{dispatch.p50:.2f}, {dispatch.p99:.2f}",
    )
    return table


def write_json(figures: Figures, path: Path) -> None:
    """Write the figures to a file."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
