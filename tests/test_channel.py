"""The sockets of an event loop: one that fails for good is noticed."""

from __future__ import annotations

import asyncio

import zmq

from sgl_conveyor.channel import LoopSocket, configure
from sgl_conveyor.supervision import Supervisor


def test_a_socket_that_is_of_no_use_any_more_ends_what_needs_it() -> None:
    async def go() -> str:
        plain = configure(zmq.Context.instance().socket(zmq.PULL))
        socket = LoopSocket(plain, lambda frames: None)
        supervisor = Supervisor()
        supervisor.need("the tap's socket", socket.listen())
        await asyncio.sleep(0)
        plain.close()
        socket._take_soon()
        try:
            async with asyncio.timeout(10):
                return await supervisor.failure()
        finally:
            await supervisor.close(0)

    assert asyncio.run(go()).startswith('the task "the tap\'s socket" is gone: ZMQError')
