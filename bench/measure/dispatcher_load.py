"""What the dispatcher costs under load: recorded tokens through the real sockets to real workers.

    python -m bench.measure.dispatcher_load [--calls 256] [--batch 256] [--rate 5000]
                                            [--seconds 15] [--json FILE]

Exit code 1 when the load was not reached, or came unevenly: the figures are then of another load.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import msgspec
import psutil

from bench.analyse.results import Check, DispatcherFigures, Overhead, save
from bench.analyse.statistics import percentile
from bench.measure.command import command, count
from bench.measure.harness import Harness, dispatcher, wait_until
from bench.measure.machine import this_machine
from bench.measure.tap_player import Load, Player, streams_of
from bench.workloads.recorded import WORKLOADS, texts
from bench.workloads.tools import NOTHING
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.timings import Timings

#: Calls that one worker serves at once: what a tool of coroutines has by default.
CALLS_A_WORKER = 64
_POLL_S = 0.25


class Processes(msgspec.Struct, frozen=True, kw_only=True):
    """What the dispatcher and its workers used between two moments (monotonic seconds).

    Args:
        began, ended: the moments.
        own_s: the dispatcher's processor time.
        workers_s: its workers'.
        memory: the most memory that the dispatcher had (bytes).
    """

    began: float
    ended: float
    own_s: float
    workers_s: float
    memory: int


class Drive(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Args:
        load: what was asked for.
        processes: what was used meanwhile.
        calls: t = 0 (monotonic seconds) and the timings of each call.
        late: of each step (seconds).
    """

    load: Load
    processes: Processes
    calls: list[tuple[float, Timings]]
    late: list[float]


def measure(load: Load) -> DispatcherFigures:
    """Drive a dispatcher of its own with this load.

    Args:
        load: what is decoded.

    Raises:
        ConveyorError: a call failed or missed a token, or the player of the tap did not end well.
        TimeoutError: something did not happen in time.
    """
    return figures_of(drive(load))


def figures_of(run: Drive) -> DispatcherFigures:
    """The figures between the two moments; waits, tokens and processor time have the same bounds.

    Args:
        run: of the dispatcher.

    Raises:
        ConveyorError: no unit was certain between them.
    """
    used = run.processes
    lasted = used.ended - used.began
    waits, tokens = [], 0
    for start, timings in run.calls:
        began, ended = used.began - start, used.ended - start
        waits += [u.started - u.ready for u in timings.units if began <= u.ready < ended]
        tokens += sum(began <= at < ended for at in timings.tokens)
    if not waits:
        raise ConveyorError("no unit came while the dispatcher was measured")
    return DispatcherFigures(
        asked_rate=run.load.rate,
        rate=tokens / lasted,
        core=used.own_s / lasted,
        workers_core=used.workers_s / lasted,
        memory_mb=used.memory / 1e6,
        p50_ms=1e3 * percentile(waits, 50),
        p99_ms=1e3 * percentile(waits, 99),
        max_ms=1e3 * max(waits),
        tap_late_p99_ms=1e3 * percentile(run.late, 99),
        units=len(waits),
        calls=len(run.calls),
    )


def load_checks(found: DispatcherFigures) -> Iterator[Check]:
    """Whether it was the load that was asked for."""
    text = f"dispatcher {found.rate:.0f} of {found.asked_rate:.0f} tokens/s"
    yield Check.of("dispatcher rate reached", 100 * found.rate / found.asked_rate, text)
    late = found.tap_late_p99_ms
    yield Check.of("dispatcher steps late p99", late, f"steps late p99 {late:.1f} ms")


def drive(load: Load) -> Drive:
    """Play the tap to a dispatcher of its own, and wait for the end of every call.

    Args:
        load: what is decoded.

    Raises:
        ConveyorError: a call failed or missed a token, or the player did not end well.
        TimeoutError: something did not happen in time.
    """
    workers = -(-load.calls // CALLS_A_WORKER)
    with dispatcher([NOTHING], limits={"workers": workers, "queue": load.calls}) as harness:
        calls = [harness.create("nothing") for _ in range(load.calls)]
        wait_until(lambda: all(_opened(harness, call) for call in calls), "every call is open")
        rids = [harness.attach(call) for call in calls]
        recorded = [text for workload in sorted(WORKLOADS) for text in texts(workload)]
        streams = streams_of([harness.tokenizer.encode(text).ids for text in recorded], load)
        with Player(harness.directory.tap, rids, streams, load) as player:
            wait_until(lambda: harness.read(calls[0], 0).outcome.timings.tokens, "the first token")
            time.sleep(load.warm_up_s)
            used = _watch(harness, load.seconds)
            lateness = player.lateness()
        ended = [(harness.started[call], _timings(harness, call, load)) for call in calls]
    return Drive(load=load, processes=used, calls=ended, late=lateness)


def _watch(harness: Harness, seconds: float) -> Processes:
    """What the dispatcher and its workers use from now on for so long."""
    dispatcher = psutil.Process(harness.process.pid)
    workers = harness.workers()
    began = time.monotonic()
    own, others = _used(dispatcher), sum(map(_used, workers))
    memory = 0
    while (left := began + seconds - time.monotonic()) > 0:
        memory = max(memory, dispatcher.memory_info().rss)
        time.sleep(min(_POLL_S, left))
    ended = time.monotonic()
    return Processes(
        began=began,
        ended=ended,
        own_s=_used(dispatcher) - own,
        workers_s=sum(map(_used, workers)) - others,
        memory=memory,
    )


def _used(process: psutil.Process) -> float:
    """Processor seconds so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def _opened(harness: Harness, call: str) -> bool:
    return harness.read(call, 0).outcome.timings.opened is not None


def _timings(harness: Harness, call: str, load: Load) -> Timings:
    """When a call has ended: its timings, with every token."""
    outcome = harness.read(call).outcome
    tokens = len(outcome.timings.tokens)
    if outcome.error is not None or outcome.aborted is not None or tokens != load.steps:
        raise ConveyorError(f"a call got {tokens} of {load.steps} tokens and ended with: {outcome}")
    return outcome.timings


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--calls", type=count, default=256)
    parser.add_argument("--batch", type=count, default=256)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    load = Load(calls=args.calls, batch=args.batch, rate=args.rate, seconds=args.seconds)
    figures = measure(load)
    for name, value in msgspec.to_builtins(figures).items():
        print(f"{name:15s} {value:10.3f}")
    save(args.json, Overhead(machine=this_machine(), dispatcher=figures))
    missed = [check.text for check in load_checks(figures) if not check.passed]
    if missed:
        print(f"not the load that was asked for: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
