"""Recordings that were never measured: figures such as two CPU cores give, for tests of reports."""

import random

from bench.analyse.runs import MODES, Machine, Recording, Run
from bench.workloads.recorded import WORKLOADS
from sgl_conveyor.timings import Span, Timings, UnitTiming

MACHINE = Machine(
    date="2026-11-22",
    cores=2,
    memory_gib=15.6,
    gpu="none",
    versions={"python": "3.11.2", "sglang": "0.5.23", "sgl-conveyor": "0.1.0"},
    command="python -m bench.measure.workloads --repeat 20 --json runs.json",
)

#: Tokens a call, units a call, tool over decode time, seconds of opening, and of finish.
PROFILES = {
    "codegen": ((60, 150), (5, 12), (0.3, 1.6), 0.14, 0.004),
    "search": ((40, 70), (4, 6), (0.05, 0.2), 0.05, 0.3),
    "planning": ((60, 120), (3, 6), (0.4, 1.4), 0.03, 0.05),
    "validation": ((60, 110), (8, 14), (0.01, 0.05), 0.01, 0.01),
    "database": ((40, 80), (1, 2), (0.02, 0.1), 0.02, 0.05),
    "calculator": ((30, 60), (4, 8), (0.0005, 0.001), 0.001, 0.001),
}
STEP_S = 0.062


def recording(calls=20, seed=1, workloads=WORKLOADS, modes=MODES, slower=1.0):
    """A recording of all workloads; partial latencies are `slower` times what they would be."""
    draw = random.Random(seed)
    runs = []
    for workload in workloads:
        for call in range(calls):
            shape = _shape(draw, workload, call)
            runs += [_run(draw, workload, call, mode, shape, slower) for mode in modes]
    draw.shuffle(runs)
    return Recording(machine=MACHINE, runs=runs)


def _shape(draw, workload, call):
    tokens, units, ratio, opening, finish = PROFILES[workload]
    count = draw.randint(*tokens)
    tool = (ratio[0] + (ratio[1] - ratio[0]) * call / 20) * count * STEP_S
    ends = sorted(draw.sample(range(4, count - 3), draw.randint(*units)))
    ends[-1] = count - 2
    weights = [draw.lognormvariate(0, 1.2) for _ in ends]
    costs = [tool * weight / sum(weights) for weight in weights]
    return count, ends, costs, opening, finish


def _run(draw, workload, call, mode, shape, slower):
    count, ends, costs, opening, finish = shape
    first = 0.15 + draw.uniform(0, 0.05)
    tokens = [first]
    for _ in range(count - 1):
        tokens.append(tokens[-1] + STEP_S * draw.gauss(1, 0.05))
    end = tokens[-1]
    aborts = workload == "validation"
    if aborts:
        ends, costs = ends[: len(ends) // 2], costs[: len(ends) // 2]
    held = mode in ("stock", "sequential")
    units, free = [], end if mode == "stock" else 0.004 + opening
    for last, cost in zip(ends, costs, strict=True):
        dispatch = {"stock": 0.0, "client": 0.006}.get(mode, 0.0015) * draw.lognormvariate(0, 0.5)
        started = max(free, end if held else 0.0, tokens[last] + dispatch)
        free = started + cost * draw.gauss(1, 0.02)
        units.append(UnitTiming(tokens[last], started, free))
    spans = [Span("query", u.started, u.ended + 0.05, i) for i, u in enumerate(units)]
    finish_started = None if aborts else max(end + 0.001, free, spans[-1].ended)
    finished = free + 0.001 if finish_started is None else finish_started + finish
    if mode == "partial":
        finished *= slower
    timings = Timings(
        partial=not held,
        queued=0.012,
        first_token=first,
        tokens=tokens,
        units=units,
        spans=spans if workload in ("search", "planning") else [],
        open_started=0.004,
        opened=0.004 + opening,
        region_end=end,
        finish_started=finish_started,
        finished=finished,
    )
    return Run(
        workload=workload,
        call=call,
        mode=mode,
        latency_s=finished + 0.003,
        result_s=finished + 0.003,
        decode_s=end,
        ended="aborted" if aborts else "done",
        value=f"result {call}",
        timings=timings,
    )
