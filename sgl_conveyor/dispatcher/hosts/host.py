"""What a pool needs of a machine that runs workers: this one now, others later.

A host on other machines implements the same few methods: of `Host` `run`, `listen` and `close`;
of `Worker` `pid`, `send`, `kill` and `memory_bytes`. The pool decides how many workers there are,
what they are told and when they end; a host starts the processes, carries messages to and from
them, ends them with all that they started, and weighs them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from sgl_conveyor import messages as m
from sgl_conveyor.specs import ToolSpec


class Worker(ABC):
    """A worker process as the dispatcher sees it, wherever it runs.

    Args:
        spec: its tool.
        sandboxed: whether it runs in a sandbox: what it says may come from a model.
        token: what its hello must say; nobody else knows it.
    """

    def __init__(self, spec: ToolSpec, *, sandboxed: bool, token: str) -> None:
        self.spec = spec
        self.sandboxed = sandboxed
        self.token = token
        #: When it was started (monotonic seconds).
        self.started_at = time.monotonic()
        #: Whether it has said hello.
        self.ready = False
        #: Whether it has had a call.
        self.used = False
        #: Whether it must get no further call: it is being ended.
        self.retired = False

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """Its process's number on its host; None until it has one."""

    @abstractmethod
    def send(self, message: m.ToWorker) -> None:
        """Send without waiting; a worker that is gone, or does not read, is killed."""

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
            enough: below this, a quick sum that counts shared pages more than once will do.

        Raises:
            HostError: the process is there and its memory cannot be read.
        """


#: Called with each message that a worker sends, in the order in which it sent them.
Received = Callable[[Worker, m.FromWorker], None]


class Host(ABC):
    """Starts worker processes and brings their messages."""

    @abstractmethod
    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], received: Received
    ) -> str:
        """Start a worker, bring its messages, and return when its process is gone.

        A message for which `received` raises ends its worker; a `ProtocolError` ends it only if it
        is sandboxed.

        Args:
            spec: the worker's tool.
            started: called with the worker before its process starts.
            received: called with each message from it.

        Returns:
            How its process ended.
        """

    @abstractmethod
    async def listen(self) -> None:
        """Bring the messages of workers that share one socket, for ever."""

    @abstractmethod
    def close(self) -> None:
        """Close what workers share; no worker must be left, and `listen` must have ended."""
