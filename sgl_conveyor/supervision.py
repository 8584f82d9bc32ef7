"""Background tasks of a process, supervised in one place: none of them dies silently."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

logger = logging.getLogger(__name__)

#: Pause before a task that ended is started again, at first and at most (seconds).
_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 10.0
#: A task that ran this long before it ended is started again after the first pause (seconds).
_STEADY_S = 60.0

Work = Callable[[], Coroutine[Any, Any, None]]


class Supervisor:
    """The tasks of one process; made in its event loop.

    What a task raises is logged with its name. Then, as whoever started it chose, the task begins
    again (`keep`), ends the process by way of `failure` (`need`), or is over (`run`).
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def run(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task that ends by itself; what it raises is logged.

        Args:
            name: what the log calls it.
            work: its coroutine.
        """
        task = asyncio.create_task(self._logged(name, work), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def keep(self, name: str, work: Work) -> None:
        """Run a task that should never end; when it does, it is started again, after a pause.

        Args:
            name: what the log calls it.
            work: makes its coroutine.
        """
        self.run(name, self._kept(name, work))

    def need(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task without which the process is of no use: its end is the process's `failure`.

        Args:
            name: what the log calls it.
            work: its coroutine.
        """
        self.run(name, self._needed(name, work))

    async def failure(self) -> str:
        """Wait until a task that the process needs has ended; returns which, and why."""
        return await asyncio.shield(self._failure)

    async def close(self, limit_s: float) -> None:
        """Let tasks end for so many seconds, then cancel them; none is started again."""
        self._closed = True
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=limit_s)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=limit_s or 1.0)

    async def _logged(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            logger.exception("the task %r failed", name)
        except asyncio.CancelledError:
            if self._is_cancelled():
                raise
            logger.exception("the task %r failed: it waited for what was cancelled", name)

    def _is_cancelled(self) -> bool:
        """Whether the task that runs was cancelled itself, not something that it waits for."""
        task = asyncio.current_task()
        return self._closed or (task is not None and task.cancelling() > 0)

    async def _kept(self, name: str, work: Work) -> None:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_S
        while not self._closed:
            began = loop.time()
            try:
                await work()
            except Exception:
                logger.exception("the task %r failed; it starts again in %.1f s", name, pause)
            except asyncio.CancelledError:
                if self._is_cancelled():
                    raise
                logger.exception(
                    "the task %r waited for what was cancelled; it starts again in %.1f s",
                    name,
                    pause,
                )
            else:
                if self._closed:
                    return
                logger.error("the task %r ended; it starts again in %.1f s", name, pause)
            await asyncio.sleep(pause)
            steady = loop.time() - began > _STEADY_S
            pause = _FIRST_PAUSE_S if steady else min(_MAX_PAUSE_S, 2 * pause)

    async def _needed(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        why = "it ended"
        try:
            await work
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            raise
        finally:
            if not self._closed and not self._failure.done():
                self._failure.set_result(f"the task {name!r} is gone: {why}")
