"""The HTTP process as the dispatcher's client, over a real socket and without a server."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import zmq
import zmq.asyncio
from fastapi import HTTPException

from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory, configure
from sgl_conveyor.errors import DispatcherGone
from sgl_conveyor.runtime import admission, control
from sgl_conveyor.runtime.admission import Admission
from sgl_conveyor.runtime.control import ControlClient

LIMIT_S = 20.0


@dataclass
class Dispatcher:
    """The other end of the client's socket."""

    socket: zmq.asyncio.Socket
    peer: bytes = b""

    async def heard(self, kind: type[Any]) -> Any:
        """The next message of this kind."""
        decoder = m.from_http()
        async with asyncio.timeout(LIMIT_S):
            while True:
                self.peer, frame = await self.socket.recv_multipart()
                message = decoder.decode(frame)
                if isinstance(message, kind):
                    return message

    async def say(self, message: m.ToHttp) -> None:
        await self.socket.send_multipart([self.peer, m.encode(message)])


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[ControlClient, Dispatcher]]:
    """A client and its dispatcher."""
    # pytest's own folders may have too long a name for a socket.
    directory = RunDirectory.create()
    socket = configure(zmq.asyncio.Context.instance().socket(zmq.ROUTER))
    socket.bind(directory.control)
    client = ControlClient(directory, lambda rid: None)
    try:
        await client.connected(LIMIT_S)
        yield client, Dispatcher(socket)
    finally:
        await client.supervisor.close(0)
        socket.close(linger=0)
        shutil.rmtree(directory.path)


def in_loop(work: Callable[[], Any]) -> None:
    asyncio.run(work())


def test_a_listener_that_fails_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        async with connected() as (client, dispatcher):
            decode = client._decoder.decode
            broken = iter([True])

            def once(frame: bytes) -> m.ToHttp:
                if next(broken, False):
                    raise RuntimeError("as ordered")
                return decode(frame)

            monkeypatch.setattr(client, "_decoder", SimpleNamespace(decode=once))
            asking = asyncio.create_task(client.ask(lambda seq: m.ReadCall(seq, "c", 0.0)))
            question = await dispatcher.heard(m.ReadCall)
            await dispatcher.say(m.Attached(question.seq))  # this one breaks the listener
            await dispatcher.say(m.Attached(question.seq))
            assert await asking == m.Attached(question.seq)

    in_loop(go)
    assert "RuntimeError: as ordered" in caplog.text


def test_a_line_that_breaks_is_made_anew_and_only_what_was_asked_fails() -> None:
    async def go() -> None:
        async with connected() as (client, dispatcher):
            asking = asyncio.create_task(client.ask(lambda seq: m.ReadCall(seq, "c", 0.0)))
            await dispatcher.heard(m.ReadCall)
            # Larger than the client's socket takes.
            await dispatcher.socket.send_multipart([dispatcher.peer, bytes(m.MAX_FRAME_BYTES + 1)])
            with pytest.raises(DispatcherGone, match="line to the dispatcher broke"):
                await asking
            await client.connected(LIMIT_S)
            asking = asyncio.create_task(client.ask(lambda seq: m.ReadCall(seq, "c", 0.0)))
            question = await dispatcher.heard(m.ReadCall)
            await dispatcher.say(m.Attached(question.seq))
            assert await asking == m.Attached(question.seq)

    in_loop(go)


class Asked:
    """What the hooks read of a request."""

    def __init__(self, call: str) -> None:
        self.sampling_params = {"custom_params": {"conveyor": {"call": call}}}
        self.rid: str | None = None
        self.text = "x"
        self.input_ids: list[int] | None = None


def test_the_end_of_a_request_is_reported_also_when_its_attach_is_answered_too_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control.ControlClient.ask, "__defaults__", (0.2,))

    async def go() -> None:
        async with connected() as (client, dispatcher):
            hooks = Admission(lambda: client)
            attaching = asyncio.create_task(hooks._attach(Asked("c" * 48)))
            attach = await dispatcher.heard(m.AttachRequest)
            with pytest.raises(HTTPException) as refused:
                await attaching
            assert refused.value.status_code == 503
            ended = await dispatcher.heard(m.RequestEnded)
            assert (ended.rid, ended.tokens) == (attach.rid, None)

    in_loop(go)


def test_live_requests_are_named_until_their_end_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "_NAMING_INTERVAL_S", 0.05)

    async def outputs(*_: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"meta_info": {"finish_reason": None}}
        yield {"meta_info": {"finish_reason": {"type": "stop"}, "completion_tokens": 2}}

    async def go() -> None:
        async with connected() as (client, dispatcher):
            hooks = Admission(lambda: client)
            stream = hooks.generate_request(outputs, None, Asked("c" * 48))
            first = asyncio.ensure_future(anext(stream))
            attach = await dispatcher.heard(m.AttachRequest)
            await dispatcher.say(m.Attached(attach.seq))
            await first
            assert (await dispatcher.heard(m.LiveRequests)).rids == [attach.rid]
            async for _ in stream:
                pass
            assert (await dispatcher.heard(m.RequestEnded)).tokens == 2
            await dispatcher.heard(m.LiveRequests)
            assert (await dispatcher.heard(m.LiveRequests)).rids == []

    in_loop(go)


def test_a_twin_of_a_running_request_is_refused_and_the_running_one_stays_alive() -> None:
    async def go() -> None:
        async with connected() as (client, dispatcher):
            hooks = Admission(lambda: client)
            first, twin = Asked("c" * 48), Asked("d" * 48)
            first.rid = twin.rid = "a" * 32
            attaching = asyncio.create_task(hooks._attach(first))
            await dispatcher.say(m.Attached((await dispatcher.heard(m.AttachRequest)).seq))
            await attaching
            with pytest.raises(HTTPException, match="is running already") as refused:
                await hooks._attach(twin)
            assert refused.value.status_code == 400
            assert list(hooks._live) == [first.rid]

    in_loop(go)
