"""A place from which frames come: what all of them have in common."""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from random import Random

import msgspec

from bench.fuzz.client import Client
from bench.fuzz.reasons import reason_of

_SLICE_S = 0.5
_LOOK_S = 0.05


class Sent(msgspec.Struct, kw_only=True):
    """What came from one place.

    Args:
        sessions: that were begun, the first one being number 0.
        frames, bytes: that were sent; of a sandbox or a worker some may have died with it.
        ends: how its calls ended, or were refused, and how often each.
    """

    sessions: int = 0
    frames: int = 0
    bytes: int = 0
    ends: Counter[str] = msgspec.field(default_factory=Counter)


class Place(ABC):
    """Sends session after session in a thread of its own.

    Args:
        client: asks the dispatcher for what the place needs.
        seed: of the run: a session follows from it, the place's name and the session's number.
        honest: the id of an honest call that lives, or lived just now.
    """

    name: str

    def __init__(self, client: Client, seed: int, honest: Callable[[], list[str]]) -> None:
        self.client = client
        self.honest = honest
        self.sent = Sent()
        self._seed = seed
        self._past: list[str] = []
        self._over = threading.Event()

    @abstractmethod
    def session(self, random: Random) -> None:
        """Send what one peer sends, and see that the dispatcher goes on."""

    def run(self, over: threading.Event, harmed: Callable[[str], None], first: int) -> None:
        """Send sessions until it is over.

        Args:
            over: when.
            harmed: told what was harmed.
            first: the number of the first session.
        """
        number = first
        self._over = over
        try:
            while not over.is_set():
                self.sent.sessions += 1
                self.session(Random(self.seed_of(number)))
                number += 1
        except Exception as error:
            traceback.print_exc()
            harmed(f"{self.name}, session {number}: {type(error).__name__}: {error}")
        finally:
            self.close()

    def wait_for_opening(self, call: str, seconds: float) -> None:
        """Wait until a call has a worker: the honest calls that live now will live a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._over.is_set():
            view = self.client.read(call, 0)
            if view.ended or view.outcome.timings.opened is not None:
                return
            time.sleep(_LOOK_S)

    def wait_for_end(self, call: str, seconds: float) -> None:
        """Wait until a call has ended, and count how; not when the run is over."""
        deadline = time.monotonic() + seconds
        how = self.client.ended(call, min(seconds, _SLICE_S))
        while how is None and time.monotonic() < deadline and not self._over.is_set():
            how = self.client.ended(call, _SLICE_S)
        self.sent.ends[reason_of(how or "it went on until it was deleted")] += 1

    def seed_of(self, number: int) -> str:
        """What a session follows from."""
        return f"{self._seed}-{self.name}-{number}"

    def close(self) -> None:
        """Close the sockets."""
        self.client.close()

    def count(self, frames: int, size: int) -> None:
        """Count frames that are sent, with so many bytes."""
        self.sent.frames += frames
        self.sent.bytes += size

    def refused(self, how: str) -> None:
        """Count why something was refused."""
        self.sent.ends[reason_of(how)] += 1

    def others(self) -> list[str]:
        """Calls that are not the sender's: honest ones that live, and its own past ones."""
        return [*self.honest(), *self.honest(), *self._past]

    def past(self, call: str) -> None:
        """Remember a call, for replays of what was said of it."""
        self._past = [*self._past[-3:], call]
