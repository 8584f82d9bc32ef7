"""A trusted worker: its tool has found its channel, and says anything on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from bench.fuzz.client import Client
from bench.fuzz.place import Place
from bench.fuzz.sessions import stream_of, worker_frames
from bench.measure.harness import STOP

_WAIT_S = 20.0


class Worker(Place):
    """Each session is a call of the tool `fuzzed`, some before the hello of a new worker.

    Args:
        client: asks the dispatcher for what the place needs.
        seed: of the run.
        honest: the ids of honest calls.
        before_hello: the file that says what the next worker says before its hello.
    """

    name = "worker"

    def __init__(
        self, client: Client, seed: int, honest: Callable[[], list[str]], before_hello: Path
    ) -> None:
        super().__init__(client, seed, honest)
        self._before_hello = before_hello

    def session(self, random: Random) -> None:
        if random.random() < 0.05:
            seed = str(random.random())
            self._before_hello.write_text(seed)
            self._count(seed, "0" * 48, [])
        call = self.client.create("fuzzed")
        self.client.attach(call)
        others = self.others()
        for _ in range(random.choice((1, 2, 5))):
            seed = str(random.random())
            when = random.choice(("line", "line", "finish", "after"))
            self.client.decode(call, f"{' '.join((when, seed, *others))}\n", per_step=1000)
            self._count(seed, call, others)
        ends = random.random() < 0.8
        if ends:
            self.client.decode(call, "", STOP)
        self.wait_for_end(call, _WAIT_S if ends else 0.2)
        self.client.forget(call)
        self.past(call)

    def _count(self, seed: str, call: str, others: list[str]) -> None:
        random = Random(seed)
        pieces = stream_of(random, worker_frames(random, call, others))
        self.count(len(pieces), sum(map(len, pieces)))
