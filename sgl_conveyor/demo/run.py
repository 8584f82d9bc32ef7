"""The demo's runs: one warm-up, then both modes in turn, then once free."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from rich.console import Console
from rich.live import Live

from sgl_conveyor.demo.figures import Figures, Run, figures_of, table_of, write_json
from sgl_conveyor.demo.server import running_server
from sgl_conveyor.demo.view import frame
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings

if TYPE_CHECKING:
    from sgl_conveyor.frontend import ConveyorEndpoint

#: Seconds between two pictures: often enough to watch, and no load beside two cores' work.
_FRAME_S = 0.25
_RUN_LIMIT_S = 300.0


def run_demo(url: str | None, *, repeat: int, json_file: Path | None, plain: bool) -> int:
    """Run the demo and print its table.

    Args:
        url: of a running server; None starts one.
        repeat: runs of each mode.
        json_file: where the figures are written too.
        plain: no live view.

    Returns:
        0, or 1 when partial execution was not faster.

    Raises:
        ConveyorError: the server cannot be started, or a run failed.
    """
    console = Console()
    live = not plain and console.is_terminal
    server = running_server([], console) if url is None else contextlib.nullcontext(url)
    with server as address:
        figures = _measure(address, repeat, console, live=live)
    console.print(table_of(figures))
    if json_file is not None:
        write_json(figures, json_file)
    if figures.reduction <= 0:
        console.print("partial execution was not faster", style="red")
        return 1
    return 0


def _measure(url: str, repeat: int, console: Console, *, live: bool) -> Figures:
    from sgl_conveyor.frontend import ConveyorEndpoint

    backend = ConveyorEndpoint(url)
    with console.status("one run to warm up"):
        _run(backend, console, "", partial=True, live=False)
    runs: list[Run] = []
    for number in range(1, repeat + 1):
        for partial in (False, True):
            mode = "partial" if partial else "sequential"
            title = f"run {number} of {repeat}, {mode}"
            run = _run(backend, console, title, partial=partial, live=live)
            console.print(f"{title}: {run.latency_s:.2f} s")
            runs.append(run)
    free = _run(backend, console, "free: the model writes what it wants", live=live, literal=False)
    how = "" if free.error is None else f"; the program failed: {free.error}"
    said = f"free, partial: {free.latency_s:.2f} s, {len(free.timings.units)} statements{how}"
    console.print(said, markup=False)
    return figures_of(runs)


def _run(
    backend: ConveyorEndpoint,
    console: Console,
    title: str,
    *,
    live: bool,
    partial: bool = True,
    literal: bool = True,
) -> Run:
    from sgl_conveyor.demo.program import QUESTION, RECORDED, codegen

    began = time.monotonic()
    state = codegen.run(
        question=QUESTION,
        literal=RECORDED if literal else None,
        partial=partial,
        stream=True,
        backend=backend,
    )
    ended: list[float] = []

    def read() -> None:
        state["code.result"].outcome()
        ended.append(time.monotonic())

    reader = threading.Thread(target=read)
    reader.start()
    if live:
        with Live(console=console, refresh_per_second=4, transient=True) as screen:
            _watch(backend.base_url, state, title, screen, partial=partial)
    reader.join(_RUN_LIMIT_S)
    if not ended:
        raise ConveyorError(f"the program had no result within {_RUN_LIMIT_S:g} s")
    result = state["code.result"]
    if literal and result.error is not None:
        raise ConveyorError(f"the recorded program failed: {result.error}")
    return Run(partial, ended[0] - began, result.timings, result.error)


def _watch(url: str, state: Any, title: str, screen: Live, *, partial: bool) -> None:
    """Show a call until it has ended."""
    deadline = time.monotonic() + _RUN_LIMIT_S
    with httpx.Client(base_url=url, trust_env=False) as client:
        while time.monotonic() < deadline:
            time.sleep(_FRAME_S)
            call = state.stream_executor.meta_info.get("code", {}).get("call")
            if call is None:
                if state.stream_executor.is_finished:
                    return
                continue
            view = client.get(f"/conveyor/calls/{call}").json()
            ended = view["result"] is not None
            timings = msgspec.convert(view["timings"], type=Timings)
            screen.update(frame(title, view["text"], timings, partial=partial, ended=ended))
            if ended and timings.region_end is not None:
                return
