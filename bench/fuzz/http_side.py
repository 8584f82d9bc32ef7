"""The HTTP side's place: everything on the control socket, of calls of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random
from typing import Any

import zmq

from bench.fuzz.client import Client, Names
from bench.fuzz.corpus import examples
from bench.fuzz.parts import parts_of
from bench.fuzz.place import Place
from bench.fuzz.sessions import disturbed
from bench.fuzz.zmtp import raw
from bench.measure.harness import LIMIT_S
from sgl_conveyor import messages as m
from sgl_conveyor.channel import configure
from sgl_conveyor.errors import ConveyorError, ProtocolError

#: Seconds between two messages that mean all requests.
_SELDOM_S = 1.0
_GENTLE = ("ReadCall", "AttachRequest", "RequestEnded", "LiveRequests")
_LAST = 2**31 - 1


class HttpSide(Place):
    """Each session is a peer of the control socket.

    Args:
        client: asks the dispatcher for what the place needs.
        seed: of the run.
        honest: the ids of honest calls.
        names: the requests that live.
    """

    name = "http"

    def __init__(
        self, client: Client, seed: int, honest: Callable[[], list[str]], names: Names
    ) -> None:
        super().__init__(client, seed, honest)
        self._names = names
        self._tokenizer = client.tokenizer_file
        self._decoder = m.to_http()
        self._from_http = m.from_http()
        self._sent_at: dict[type, float] = {}

    def session(self, random: Random) -> None:
        call = self.client.create("target")
        if random.random() < 0.5:
            self.client.attach(call)
            self.client.decode(call, "some text", per_step=1)
        frames = disturbed(random, self._course(random, call), self._past)
        frames = [kept for frame in frames if (kept := self._kept(frame)) is not None]
        how = random.choice(("raw", *("named",) * 3, *("unheard",) * 2, *("heard",) * 8))
        if how != "heard":
            # Nobody would delete what it creates.
            frames = [frame for frame in frames if not self._creates(frame)]
        if how == "raw":
            path = self.client.directory.path / "control"
            self.count(1, raw(random, path, b"DEALER", frames))
        else:
            self._send(random, frames, how)
        self.wait_for_end(call, 0.0)
        self.client.forget(call)
        self.past(call)

    def _course(self, random: Random, call: str) -> list[bytes]:
        messages = http_examples(call, self._tokenizer)
        names = [random.choice(_GENTLE) for _ in range(random.choice((0, 1, 3, 10)))]
        names += random.sample(sorted(messages), random.choice((1, 2, 5)))
        frames = [m.encode(messages[name]) for name in names]
        if self._past and random.random() < 0.2:
            # What was said of an ended call, once more.
            replayed = http_examples(random.choice(self._past), self._tokenizer)
            frames += [m.encode(message) for message in replayed.values()]
        return frames

    def _creates(self, frame: bytes) -> bool:
        try:
            return isinstance(self._from_http.decode(frame), m.CreateCall)
        except ProtocolError:
            return False

    def _kept(self, frame: bytes) -> bytes | None:
        """The frame, unless it means the end of other calls' requests, as this side may."""
        try:
            message = self._from_http.decode(frame)
        except ProtocolError:
            return frame
        if not isinstance(message, (m.HttpHello, m.LiveRequests)):
            return frame
        now = time.monotonic()
        if now - self._sent_at.get(type(message), 0.0) < _SELDOM_S:
            return None
        self._sent_at[type(message)] = now
        if isinstance(message, m.HttpHello):
            return m.encode(m.HttpHello(os.getpid(), message.tokenizer))
        return m.encode(m.LiveRequests([*message.rids, *self._names.all()]))

    def _send(self, random: Random, frames: list[bytes], how: str) -> None:
        context: zmq.Context[Any] = zmq.Context.instance()
        socket = configure(context.socket(zmq.DEALER))
        socket.setsockopt(zmq.SNDTIMEO, int(1000 * LIMIT_S))
        if how == "named":
            # Another peer may have it just now, too: then ZeroMQ drops this one.
            socket.setsockopt(zmq.ROUTING_ID, random.choice((b"a", b"b" * 255, b"\x01")))
        try:
            socket.connect(self.client.directory.control)
            for frame in frames:
                parts = parts_of(random, frame)
                socket.send_multipart(parts)
                self.count(1, sum(map(len, parts)))
            if how == "heard":
                self._hear(socket)
        finally:
            socket.close(0)

    def _hear(self, socket: zmq.Socket[bytes]) -> None:
        """Take the answers, up to that of a last question; delete what was created."""
        socket.send(m.encode(m.ReadCall(_LAST, "", 0.0)))
        while True:
            answer: m.ToHttp = self._decoder.decode(self.client.heard(socket))
            if isinstance(answer, m.Created):
                self.client.forget(answer.call)
            elif isinstance(answer, m.Refused):
                self.refused(f"{answer.status} {answer.message}")
                if answer.status == 500:
                    raise ConveyorError(f"an internal error: {answer.message}")
                if answer.seq == _LAST:
                    return


def http_examples(call: str, tokenizer: str) -> dict[str, Any]:
    """A message of each type that the HTTP side may send.

    Args:
        call: a call's id.
        tokenizer: the file of the served model's.
    """
    values = {
        "call": call,
        "rid": call[:32],
        "rids": [call[:32]],
        "tool": "target",
        "tokenizer": tokenizer,
        "pid": os.getpid(),
        "sent_at": time.monotonic(),
        "wait": 0.0,
    }
    return examples(m.FromHttp, values)
