"""This machine as a host: workers as its processes, in a sandbox or trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sgl_conveyor.dispatcher.hosts.host import Host, Listener, Worker
from sgl_conveyor.dispatcher.hosts.process import LocalWorker
from sgl_conveyor.specs import RESULT_BYTES, ToolInfo, ToolSpec


class LocalHost(Host):
    """Runs workers on this machine.

    Args:
        unsafe: whether tools that run what a model wrote go without a sandbox.
        result_bytes: that a call may return.
        registry: the tools that a worker without a sandbox may call.
        cgroup: whose children hold sandboxes; None if none is delegated to us.
    """

    def __init__(
        self,
        *,
        unsafe: bool,
        result_bytes: int = RESULT_BYTES,
        registry: list[ToolInfo] | None = None,
        cgroup: Path | None = None,
    ) -> None:
        self._cgroup = cgroup
        self._registry = registry or []
        self._result_bytes = result_bytes
        self._unsafe = unsafe

    async def run(
        self, spec: ToolSpec, started: Callable[[Worker], None], listener: Listener
    ) -> str:
        worker = LocalWorker(
            spec,
            sandboxed=spec.sandbox and not self._unsafe,
            registry=[] if spec.sandbox else self._registry,
            result_bytes=self._result_bytes,
            cgroup=self._cgroup if spec.sandbox else None,
            listener=listener,
        )
        started(worker)
        return await worker.live()
