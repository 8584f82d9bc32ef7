"""What a pool needs of a machine that runs workers: this one now, others later.

A host on other machines implements the same few methods: of `Host` `run`; of `Worker` `pid`,
`send`, `kill` and `memory_bytes`. The pool decides how many workers there are,
what they are told and when they end; a host starts the processes, carries messages to and from
them, ends them with all that they started, and weighs them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from sgl_conveyor import messages as m
from sgl_conveyor.specs import ToolSpec


class Worker(ABC):
    """A worker process as the dispatcher sees it, wherever it runs.

    Args:
        spec: its tool.
        sandboxed: whether it runs in a sandbox: what it says may come from a model.
    """

    def __init__(self, spec: ToolSpec, *, sandboxed: bool) -> None:
        self.spec = spec
        self.sandboxed = sandboxed
        #: When it was started (monotonic seconds).
        self.started_at = time.monotonic()
        #: Whether it has said hello.
        self.ready = False
        #: Whether it has had a call.
        self.used = False
        #: Whether it must get no further call: it is being ended.
        self.retired = False
        #: Why its host ended it, if that was for its memory; known when it is gone.
        self.over_memory: str | None = None

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Its process's number on its host; None until it has one."""

    @abstractmethod
    def send(self, message: m.ToWorker) -> None:
        """Send without waiting; an abort or a cancel drops what has not left of the same call.

        Raises:
            QueueOverflow: it is text or an answer, and more waits for the worker than may.
        """

    @abstractmethod
    def kill(self) -> None:
        """Retire it, and end its process and all that this started, without waiting.

        `Host.run` returns when they are gone. A worker may be killed before it has a process, and
        more than once.
        """

    @abstractmethod
    async def memory_bytes(self, enough: int) -> int:
        """Memory of the process and all that it started (bytes); 0 if it is gone.

        Args:
            enough: the limit (bytes). Below it, a quick sum that counts shared pages more than once
                will do; beyond it, nothing more need be added.

        Raises:
            HostError: the process is there and its memory cannot be read.
        """


class Listener(Protocol):
    """Who hears what workers say, in the order in which each one says it."""

    def may_say(self, worker: Worker, size: int) -> bool:
        """Whether a worker may say this now: asked before its bytes are read as a message.

        Args:
            worker: who says it.
            size: of the message (bytes).
        """

    def heard(self, worker: Worker, message: m.FromWorker) -> None:
        """A worker said something that it may.

        Raises:
            ProtocolError: it may not: it ends if it is sandboxed.
            Exception: an error of ours: it ends.
        """


class Host(ABC):
    """Starts worker processes and brings their messages."""

    @abstractmethod
    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], listener: Listener
    ) -> str:
        """Start a worker, bring its messages, and return when its process is gone.

        Args:
            spec: the worker's tool.
            started: called with the worker before its process starts.
            listener: hears it.

        Returns:
            How its process ended.
        """
