"""A dispatcher of its own, everything that is sent to it, and what came of it."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench.fuzz.client import Client, Names
from bench.fuzz.honest import Honest
from bench.fuzz.http_side import HttpSide
from bench.fuzz.log import Log
from bench.fuzz.place import Place, Sent
from bench.fuzz.sandbox import Sandbox
from bench.fuzz.tap import Tap
from bench.fuzz.tools import BEFORE_HELLO, ECHO, FUZZED, TARGET
from bench.fuzz.watch import Watch
from bench.fuzz.worker import Worker
from bench.measure.harness import Harness, dispatcher
from sgl_conveyor.dispatcher.config import Retention

PLACES = ("sandbox", "worker", "http", "tap")
#: The parts of workers' command lines that tell their tools.
_TOOLS = {"echo": ECHO, "target": TARGET, "worker": FUZZED, "sandbox": "tool_workers.python"}
#: Rounds of honest calls before memory and files are first looked at.
_ROUNDS_BEFORE = 3
_JOIN_S = 90.0


class Report(msgspec.Struct, kw_only=True):
    """What happened.

    Args:
        seed: of the run.
        seconds: that it took.
        places: what came from each.
        workers: that ended, of each tool: `sandbox` and `worker` are those that were hostile, or
            had ended as they should.
        honest: calls that came to their right results.
        slowest_honest_s, slowest_answer_s: the longest of them, and the longest wait for an answer.
        growth_mib: of the dispatcher's memory.
        files: how many more it had open.
        log_lines: that it wrote.
        reasons: its different sentences, and how often each.
        harmed: what was harmed; empty if nothing was.
    """

    seed: int
    seconds: float
    places: dict[str, Sent]
    workers: Counter[str]
    honest: int
    slowest_honest_s: float
    slowest_answer_s: float
    growth_mib: float
    files: int
    log_lines: int
    reasons: Counter[str]
    harmed: list[str]

    @property
    def different_ends(self) -> int:
        """Different sentences with which something was refused or ended: how deep it went."""
        ends = {how for sent in self.places.values() for how in sent.ends}
        return len(ends) + len(self.reasons)


def fuzz(seconds: float, seed: int, places: Sequence[str] = PLACES, *, first: int = 0) -> Report:
    """Send to a dispatcher of its own for so long, or until something is harmed.

    Args:
        seconds: how long.
        seed: of everything that is sent.
        places: from where.
        first: the number of each place's first session.

    Raises:
        ConveyorError: the dispatcher does not start, or an honest call fails before anything is
            sent.
    """
    harmed: list[str] = []
    log = Log()
    began = time.monotonic()
    # What is kept of ended calls is no part of what hostile frames take.
    forgetful = Retention(seconds=1.0)
    with tempfile.TemporaryDirectory() as folder:
        before_hello = Path(folder) / "before-hello"
        with dispatcher(
            [ECHO, TARGET, FUZZED, "python"],
            retention=forgetful,
            environment={BEFORE_HELLO: str(before_hello)},
            limits={"workers": 3},
            log=log.descriptor,
        ) as harness:
            run = _Run(harness, log, seed, places, before_hello)
            run.go(seconds, first, harmed)
        if harness.process.returncode != 0 and not harmed:
            harmed.append(f"the dispatcher ended with exit code {harness.process.returncode}")
    log.close()
    watch, honest = run.watch, run.honest
    return Report(
        seed=seed,
        seconds=time.monotonic() - began,
        places={place.name: place.sent for place in run.places},
        workers=watch.ended,
        honest=honest.calls,
        slowest_honest_s=honest.slowest_s,
        slowest_answer_s=watch.slowest_answer_s,
        growth_mib=watch.growth / 1024**2,
        files=watch.files,
        log_lines=log.lines,
        reasons=log.reasons,
        harmed=harmed,
    )


class _Run:
    """The threads of a run."""

    def __init__(
        self, harness: Harness, log: Log, seed: int, places: Sequence[str], before_hello: Path
    ) -> None:
        names = Names()

        def client() -> Client:
            return Client(harness, names)

        self.honest = Honest(client())
        for _ in range(_ROUNDS_BEFORE):
            self.honest.round()
        ids = self.honest.ids
        make: dict[str, Callable[[], Place]] = {
            "sandbox": lambda: Sandbox(client(), seed, ids),
            "worker": lambda: Worker(client(), seed, ids, before_hello),
            "http": lambda: HttpSide(client(), seed, ids, names),
            "tap": lambda: Tap(client(), seed, ids),
        }
        self.places = [make[name]() for name in places]
        self.watch = Watch(client(), log, _TOOLS)

    def go(self, seconds: float, first: int, harmed: list[str]) -> None:
        """Run them for so long, or until something is harmed, then look once more."""
        over, quiet = threading.Event(), threading.Event()

        def harm(what: str) -> None:
            if not harmed:
                now = [f"{p.name} {first + p.sent.sessions - 1}" for p in self.places]
                harmed.append(f"{what}\nin the sessions: {', '.join(now)}")
            over.set()

        with _threads(
            over,
            lambda: self.watch.run(quiet, harm),
            lambda: self.honest.run(over, harm),
            *(lambda place=place: place.run(over, harm, first) for place in self.places),
        ) as threads:
            over.wait(seconds)
            over.set()
            for thread in threads[1:]:
                thread.join(_JOIN_S)
                if thread.is_alive():
                    harm("a thread of the run did not end: something waits for ever")
            quiet.set()
        self._afterwards(harm, harmed)

    def _afterwards(self, harm: Callable[[str], None], harmed: list[str]) -> None:
        """All of it must still serve, and come to rest."""
        if harmed:
            return
        try:
            wrong = self.watch.rest() or self.watch.look()
            if wrong is not None:
                harm(wrong)
            self.honest.round()
        except Exception as error:
            harm(f"afterwards: {type(error).__name__}: {error}")


@contextlib.contextmanager
def _threads(over: threading.Event, *work: Callable[[], None]) -> Iterator[list[threading.Thread]]:
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        over.set()
        for thread in threads:
            thread.join(_JOIN_S)
