"""What a call feels while another one's sandbox floods the dispatcher.

    python -m bench.measure.flood [--seconds 5] [--every-ms 5] [--attacks NAME ...]

For each attack of tests/tool_workers/hostile_channel, and for none: tokens of a trusted tool's call
are committed at a steady pace; the times from a token to its hook, and how much the dispatcher's
memory grew.
Exit code 1: the 99th percentile passes 20 ms, or the growth 64 MiB.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import msgspec
import pandas as pd
import psutil

from bench.analyse.statistics import percentile
from bench.measure.command import command
from bench.measure.harness import STOP, Harness, dispatcher
from bench.workloads.tools import NOTHING
from sgl_conveyor.dispatcher.config import Retention
from sgl_conveyor.errors import ConveyorError

ATTACKS = Path(__file__).parents[2] / "tests/tool_workers/hostile_channel"
MOST_P99_MS = 20.0
MOST_GROWTH_MIB = 64.0
_MIB = 1024 * 1024
_POLL_S = 0.02
_BEATS_BEFORE = 50
#: Seconds between two attacks. Nobody asks for their results: reading 16 MiB takes its time.
_PAUSE_S = 1.0


class Felt(msgspec.Struct, frozen=True, kw_only=True):
    """What a call felt beside an attack.

    Args:
        attack: which; empty for none.
        attacks: calls that attacked meanwhile.
        units: hooks that were timed.
        p50_ms, p99_ms, max_ms: from a token to its hook.
        growth_mib: of the dispatcher's memory.
    """

    attack: str
    attacks: int
    units: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    growth_mib: float


def felt(attack: str, seconds: float, every_s: float) -> Felt:
    """Attack a dispatcher of its own for a while.

    Args:
        attack: the name of a file in `ATTACKS`; empty for none.
        seconds: how long.
        every_s: seconds between two tokens of the call that is timed.

    Raises:
        ConveyorError: that call failed.
    """
    # What is kept of ended calls is no part of what a flood takes.
    forgetful = Retention(seconds=0.1)
    with dispatcher([NOTHING, "python"], retention=forgetful) as harness:
        call = harness.create("nothing")
        harness.attach(call)
        source = _source(attack)
        memory = _Memory(harness.process.pid)
        attacks = 0
        began = time.monotonic()
        beat, at = 0, began
        while time.monotonic() < began + seconds:
            harness.decode(call, " x")
            beat += 1
            if source and beat > _BEATS_BEFORE and at > began + attacks * _PAUSE_S:
                _begin(harness, source)
                attacks += 1
            at += every_s
            time.sleep(max(0.0, at - time.monotonic()))
        growth = memory.growth()
        units = harness.read(call, 0).outcome.timings.units
    waits = [1e3 * (unit.started - unit.ready) for unit in units[_BEATS_BEFORE:]]
    if len(waits) < _BEATS_BEFORE:
        raise ConveyorError(f"only {len(waits)} units were timed beside {attack!r}")
    return Felt(
        attack=attack,
        attacks=attacks,
        units=len(waits),
        p50_ms=percentile(waits, 50),
        p99_ms=percentile(waits, 99),
        max_ms=max(waits),
        growth_mib=growth / _MIB,
    )


def _source(attack: str) -> str:
    if not attack:
        return ""
    return (ATTACKS / "_channel.py").read_text() + (ATTACKS / f"{attack}.py").read_text()


def _begin(harness: Harness, source: str) -> None:
    call = harness.create("python")
    harness.attach(call)
    harness.decode(call, source, STOP, per_step=100_000)


class _Memory:
    """Watches how much a process holds, beyond what it held at first."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._first = self._most = self._process.memory_info().rss
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(_POLL_S):
            self._most = max(self._most, self._process.memory_info().rss)

    def growth(self) -> int:
        """The most so far (bytes); the watch ends."""
        self._over.set()
        self._thread.join()
        return int(self._most - self._first)


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--every-ms", type=float, default=5.0)
    parser.add_argument("--attacks", nargs="+", metavar="NAME", help="only these")
    args = parser.parse_args()
    names = args.attacks or sorted(path.stem for path in ATTACKS.glob("[!_]*.py"))
    found = [felt(name, args.seconds, args.every_ms / 1e3) for name in ["", *names, ""]]
    print(pd.DataFrame(msgspec.to_builtins(found)).round(2).to_string(index=False))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.encode(found))
    missed = [f for f in found if f.p99_ms > MOST_P99_MS or f.growth_mib > MOST_GROWTH_MIB]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
