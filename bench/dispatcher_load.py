"""What the dispatcher costs under load: recorded tokens through the real sockets to real workers.

python -m bench.dispatcher_load [--calls 256] [--batch 256] [--rate 5000] [--seconds 15] [--json F]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import time
from pathlib import Path

import msgspec
import psutil
import zmq

from bench.statistics import percentile
from sgl_conveyor import messages as m
from sgl_conveyor.channel import configure
from tests.dispatcher.harness import STOP, Harness, dispatcher, wait_until

TOOL = "bench.nothing:Nothing"
#: Calls that one worker serves at once: what a tool of coroutines has by default.
CALLS_A_WORKER = 64
_RECORDED = Path(__file__).parent / "recorded"
_POLL_S = 0.25


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is decoded.

    Args:
        calls: at once.
        batch: calls that commit their next token in the same step, at the same moment; all of
            them, if one scheduler decodes them.
        rate: tokens a second of all calls together.
        seconds: how long it is measured, after the warm-up.
        warm_up_s: before.
    """

    calls: int = 256
    batch: int = 256
    rate: float = 5000.0
    seconds: float = 15.0
    warm_up_s: float = 2.0

    @property
    def steps(self) -> int:
        """Tokens of each call, the warm-up's included."""
        return max(1, round((self.warm_up_s + self.seconds) * self.rate / self.calls))


class DispatcherFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen.

    Args:
        rate: tokens a second that the tap sent.
        core: the dispatcher's processor time, as a part of one core.
        workers_core: that of its workers.
        memory_mb: the most memory that the dispatcher had (RSS, 10^6 bytes).
        p50_ms, p99_ms, max_ms: from a token's commit to the start of its hook.
        tap_late_p99_ms: how late the process that plays the tap woke for a step: what the
            machine, busy with other things, did to everybody.
        units: hooks that these are of.
        calls: how many.
    """

    rate: float
    core: float
    workers_core: float
    memory_mb: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    tap_late_p99_ms: float
    units: int
    calls: int


def measure(load: Load) -> DispatcherFigures:
    """Drive a dispatcher of its own with this load.

    Raises:
        AssertionError: a call failed, or something did not happen in time.
    """
    workers = -(-load.calls // CALLS_A_WORKER)
    with dispatcher([TOOL], limits={"workers": workers, "queue": load.calls}) as harness:
        calls = [harness.create("nothing") for _ in range(load.calls)]
        wait_until(lambda: _all_open(harness, calls), "every call is open")
        for call in calls:
            harness.attach(call)
        texts = [text for path in sorted(_RECORDED.glob("*.json")) for text in _texts(path)]
        tokens = [harness.tokenizer.encode(text).ids for text in texts]
        streams = _streams(tokens, load)
        context = multiprocessing.get_context("spawn")
        late: multiprocessing.Queue[list[float]] = context.Queue()
        player = context.Process(
            target=play, args=(harness.directory.tap, calls, streams, load, late)
        )
        player.start()
        try:
            wait_until(lambda: _decoding(harness, calls[0]), "the first token")
            time.sleep(load.warm_up_s)
            began, before = time.monotonic(), _used(harness)
            memory = 0
            while time.monotonic() < began + load.seconds:
                memory = max(memory, psutil.Process(harness.process.pid).memory_info().rss)
                time.sleep(_POLL_S)
            after = _used(harness)
            lasted = time.monotonic() - began
            lateness = late.get(timeout=2 * load.seconds)
            player.join(load.seconds)
            assert player.exitcode == 0, f"the tap's process ended with {player.exitcode}"
        finally:
            player.kill()
            player.join()
        waits, committed = _waits(harness, calls, load)
    return DispatcherFigures(
        rate=committed / load.seconds,
        core=(after[0] - before[0]) / lasted,
        workers_core=(after[1] - before[1]) / lasted,
        memory_mb=memory / 1e6,
        p50_ms=1e3 * percentile(waits, 50),
        p99_ms=1e3 * percentile(waits, 99),
        max_ms=1e3 * max(waits),
        tap_late_p99_ms=1e3 * percentile(lateness, 99),
        units=len(waits),
        calls=load.calls,
    )


def play(
    address: str,
    calls: list[str],
    streams: list[list[int]],
    load: Load,
    late: multiprocessing.Queue[list[float]],
) -> None:
    """Be the tap: at each step one more token of every call of a batch, at an even pace.

    Args:
        address: the tap's.
        calls: their ids.
        streams: the tokens of each call, all equally many.
        load: the pace.
        late: gets how late each step was (seconds).
    """
    push: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PUSH))
    push.setsockopt(zmq.LINGER, 10_000)
    push.connect(address)
    began = time.monotonic()
    sent, lateness = 0, []
    for step in range(load.steps):
        tail: list[int] | None = [] if step == 0 else None
        finish = STOP if step == load.steps - 1 else None
        for first in range(0, len(calls), load.batch):
            records = [
                m.TapRecord(call, step, [stream[step]], tail, finish)
                for call, stream in zip(
                    calls[first : first + load.batch],
                    streams[first : first + load.batch],
                    strict=True,
                )
            ]
            due = began + sent / load.rate
            time.sleep(max(0.0, due - time.monotonic()))
            lateness.append(time.monotonic() - due)
            push.send(m.encode(m.TapStep(time.monotonic(), records)))
            sent += len(records)
    push.close()
    late.put(lateness)


def _texts(path: Path) -> list[str]:
    return msgspec.json.decode(path.read_bytes(), type=list[str])


def _streams(recorded: list[list[int]], load: Load) -> list[list[int]]:
    """As many tokens as there are steps for each call: recorded ones, in an order of its own."""
    draw = random.Random(0)
    streams = []
    for _ in range(load.calls):
        stream: list[int] = []
        while len(stream) < load.steps:
            stream += draw.choice(recorded)
        streams.append(stream[: load.steps])
    return streams


def _all_open(harness: Harness, calls: list[str]) -> bool:
    return all(harness.read(call, 0).outcome.timings.opened is not None for call in calls)


def _decoding(harness: Harness, call: str) -> bool:
    return bool(harness.read(call, 0).outcome.timings.tokens)


def _used(harness: Harness) -> tuple[float, float]:
    """Processor seconds so far: the dispatcher's, and its workers' together."""

    def seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    own = seconds(psutil.Process(harness.process.pid))
    return own, sum(seconds(worker) for worker in harness.workers())


def _waits(harness: Harness, calls: list[str], load: Load) -> tuple[list[float], int]:
    """After the warm-up: seconds from commit to hook of each unit, and how many tokens came."""
    waits, tokens = [], 0
    for call in calls:
        outcome = harness.read(call).outcome
        assert outcome.error is None, outcome.error
        assert outcome.aborted is None, outcome.aborted
        timings = outcome.timings
        assert timings.first_token is not None
        began = timings.first_token + load.warm_up_s
        ended = began + load.seconds
        waits += [u.started - u.ready for u in timings.units if began <= u.ready < ended]
        tokens += sum(began <= at < ended for at in timings.tokens)
    return waits, tokens


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=256)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=5000)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    load = Load(calls=args.calls, batch=args.batch, rate=args.rate, seconds=args.seconds)
    figures = measure(load)
    for name, value in msgspec.to_builtins(figures).items():
        print(f"{name:13s} {value:10.3f}")
    if args.json is not None:
        args.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")


if __name__ == "__main__":
    main()
