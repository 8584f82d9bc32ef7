"""A sandbox: a python call that has found its worker's channel, and says anything on it."""

from __future__ import annotations

from pathlib import Path
from random import Random

from bench.fuzz.place import Place
from bench.fuzz.sessions import stream_of, worker_frames
from bench.measure.harness import STOP

#: What is not there inside: the modules that make frames.
_MODULES = ("corpus", "mutations", "sessions")
_LOAD = """\
import gc, socket, sys, threading, time, types
from random import Random
for name, text in {modules!r}.items():
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    exec(text, module.__dict__)
from bench.fuzz.sessions import stream_of, worker_frames
from sgl_conveyor.worker.runner import CallRunner
[s] = [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.family == socket.AF_UNIX]
[r] = [o for o in gc.get_objects() if isinstance(o, CallRunner)]
random = Random({seed!r})
pieces = stream_of(random, worker_frames(random, r.call, {others!r}))
go = lambda: [s.sendall(piece) for piece in pieces]
"""
#: When it is sent.
_WHEN = {
    "now": "go()\nprint(1)\n",
    "from a thread": "threading.Thread(target=go).start()\ntime.sleep(0.01)\nprint(1)\n",
    "where its result is due": (
        "finish = r._tool.finish\nr._tool.finish = lambda: (go(), finish())[1]\nprint(1)\n"
    ),
    "after its result": "send = r._send\nr._send = lambda message: (send(message), go())\n",
}
_FOLDER = Path(__file__).parent
_WAIT_S = 20.0


class Sandbox(Place):
    """Each session is a call, whose worker ends with it."""

    name = "sandbox"

    def session(self, random: Random) -> None:
        seed, when = str(random.random()), random.choice((_WHEN["now"], *_WHEN.values()))
        ends = random.random() < 0.8
        call = self.client.create("python")
        self.client.attach(call)
        self.wait_for_opening(call, _WAIT_S)
        others = self.others()
        text = _LOAD.format(modules=_modules(), seed=seed, others=others) + when
        self.client.decode(call, text, STOP if ends else None, per_step=100_000)
        pieces = _pieces(seed, call, others)
        self.count(len(pieces), sum(map(len, pieces)))
        self.wait_for_end(call, _WAIT_S if ends else 1.0)
        self.client.forget(call)
        self.past(call)


def _modules() -> dict[str, str]:
    texts = {"bench": "", "bench.fuzz": ""}
    return texts | {f"bench.fuzz.{n}": (_FOLDER / f"{n}.py").read_text() for n in _MODULES}


def _pieces(seed: str, call: str, others: list[str]) -> list[bytes]:
    """What the call makes of its seed, for the counts."""
    random = Random(seed)
    return stream_of(random, worker_frames(random, call, others))
