"""How far programs that take memory as fast as they can get beyond their limit.

    python -m bench.measure.memory_overshoot [--repeat 5]

A python call with a limit of 512 MiB forks sixteen processes that together write to 3 GiB, and no
more. All that they hold is read every few milliseconds from outside.
Exit code 1: one call got further than docs/security.md says, or was not ended for its memory.
"""

from __future__ import annotations

import contextlib
import sys
import time

import msgspec
import pandas as pd
import psutil

from bench.measure.command import command, count
from bench.measure.harness import STOP, Harness, dispatcher
from sgl_conveyor.dispatcher.hosts.weight import with_all_below

MIB = 1024 * 1024
LIMIT_MIB = 512
#: Where no cgroup keeps the limit; what docs/security.md says.
MOST_BEYOND_MIB = 512
_POLL_S = 0.002
_LIMIT_S = 30.0
#: Each page is written to once; a process's own limit is as high as that of all together.
_TAKES = """\
import os, time
for _ in range(16):
    if os.fork() == 0:
        held = b'x' * (192 * 2**20)
        time.sleep(5)
        os._exit(0)

time.sleep(5)
"""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What one call held.

    Args:
        peak_mib: the most that was seen.
        beyond_mib: of that, beyond its limit.
        gib_per_s: how fast it grew, from half its limit on.
        error: what the call ended with.
    """

    peak_mib: float
    beyond_mib: float
    gib_per_s: float
    error: str


def taken(harness: Harness) -> Taken:
    """Run one call, and weigh it until it is gone.

    Args:
        harness: of a dispatcher with the python tool.
    """
    workers = [process.pid for process in harness.workers()]
    call = harness.create("python")
    harness.attach(call)
    harness.decode(call, _TAKES, STOP, per_step=1000)
    began = time.monotonic()
    seen: list[tuple[float, int]] = []
    while time.monotonic() < began + _LIMIT_S:
        held = max(_held_by(pid) for pid in workers)
        seen.append((time.monotonic(), held))
        if harness.read(call, 0).ended:
            break
        time.sleep(_POLL_S)
    peak_at, peak = max(seen, key=lambda point: point[1])
    half_at, half = next(point for point in seen if point[1] >= min(peak, LIMIT_MIB * MIB // 2))
    error = harness.read(call, 0).outcome.error
    return Taken(
        peak_mib=peak / MIB,
        beyond_mib=max(0.0, peak / MIB - LIMIT_MIB),
        gib_per_s=(peak - half) / 1024**3 / max(1e-3, peak_at - half_at),
        error="" if error is None else error.type,
    )


def _held_by(pid: int) -> int:
    """Memory of a process and all below it (bytes), each shared page in parts."""
    held = 0
    for process in with_all_below(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            held += int(psutil.Process(process).memory_full_info().pss)
    return held


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--repeat", type=count, default=5)
    args = parser.parse_args()
    with dispatcher(["python"], limits={"memory_bytes": LIMIT_MIB * MIB}) as harness:
        found = []
        for _ in range(args.repeat):
            found.append(taken(harness))
            time.sleep(2)
    print(pd.DataFrame(msgspec.to_builtins(found)).round(2).to_string(index=False))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.encode(found))
    missed = [f for f in found if f.beyond_mib > MOST_BEYOND_MIB or f.error != "MemoryLimit"]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
