"""The dispatcher, watched from outside: it lives, answers, holds no more than it may."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil

from bench.fuzz.client import Client
from bench.fuzz.log import Log
from sgl_conveyor import messages as m
from sgl_conveyor.errors import ConveyorError

#: Limits of one answer (seconds), and of what comes to be held: memory (bytes), open files.
ANSWER_S = 10.0
MOST_GROWTH = 64 * 1024 * 1024
MOST_FILES = 100
#: Seconds between two looks.
_EVERY_S = 0.1
#: How much of a core it may use at rest, over so many seconds.
_REST_CORE = 0.5
_REST_S = 1.0


class Watch:
    """Looks until it is over, or something is wrong.

    Args:
        client: of its own.
        log: the dispatcher's.
        tools: a part of the command line of each tool's workers, by the tool's name.
    """

    def __init__(self, client: Client, log: Log, tools: dict[str, str]) -> None:
        self._client = client
        client.limit_s = ANSWER_S
        self._log = log
        self._tools = tools
        self._process = psutil.Process(client.process.pid)
        self._first_files = self._process.num_fds()
        self._first_memory = self._process.memory_info().rss
        self._workers: dict[int, str] = {}
        #: The most that came to be held, and the slowest answer (seconds).
        self.growth = self.files = 0
        self.slowest_answer_s = 0.0
        #: Workers of each tool that have ended.
        self.ended: Counter[str] = Counter()

    def run(self, over: threading.Event, harmed: Callable[[str], None]) -> None:
        """Look until it is over.

        Args:
            over: when.
            harmed: told what is wrong.
        """
        while not over.wait(_EVERY_S):
            try:
                wrong = self.look()
            except (psutil.Error, ConveyorError, TimeoutError) as error:
                wrong = f"{type(error).__name__}: {error}"
            if wrong is not None:
                harmed(wrong)

    def look(self) -> str | None:
        """What is wrong now.

        Raises:
            psutil.Error: the dispatcher is gone.
            ConveyorError: the same.
            TimeoutError: it does not answer.
        """
        if (code := self._client.process.poll()) is not None:
            return f"the dispatcher ended with exit code {code}"
        if self._log.wrong:
            return "in the dispatcher's log:\n" + "\n".join(self._log.wrong)
        began = time.monotonic()
        self._client.ask(m.ReadCall, "", 0.0)
        self.slowest_answer_s = max(self.slowest_answer_s, time.monotonic() - began)
        self._count_workers()
        memory = self._process.memory_info().rss - self._first_memory
        self.growth = max(self.growth, memory)
        if memory > MOST_GROWTH:
            return f"the dispatcher grew by {memory} bytes"
        files = self._process.num_fds() - self._first_files
        self.files = max(self.files, files)
        if files > MOST_FILES:
            return f"the dispatcher has {files} more open files"
        return None

    def rest(self) -> str | None:
        """What is wrong when nobody asks for anything: it is still busy.

        Raises:
            psutil.Error: the dispatcher is gone.
        """
        time.sleep(_REST_S)
        before = self._process.cpu_times()
        time.sleep(_REST_S)
        after = self._process.cpu_times()
        core = (after.user + after.system - before.user - before.system) / _REST_S
        return f"the dispatcher uses {core:.2f} of a core at rest" if core > _REST_CORE else None

    def _count_workers(self) -> None:
        there = {}
        for worker in self._client.workers():
            there[worker.pid] = self._workers.get(worker.pid) or self._tool_of(worker)
        for pid, tool in self._workers.items():
            if pid not in there and tool:
                self.ended[tool] += 1
        self._workers = there

    def _tool_of(self, worker: psutil.Process) -> str:
        try:
            line = " ".join(worker.cmdline())
        except psutil.Error:
            return ""
        return next((tool for tool, part in self._tools.items() if part in line), "")
