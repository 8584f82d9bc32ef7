"""What the launcher tells the dispatcher when it starts it, and what the dispatcher tells back."""

from __future__ import annotations

import msgspec

from sgl_conveyor.specs import RESULT_BYTES, ToolSpec


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long ended calls can still be read.

    Args:
        seconds: after a call's end.
        calls: how many at most, running ones included.
        bytes: of their texts and results together.
    """

    seconds: float = 600.0
    calls: int = 10_000
    bytes: int = 256 * 1024**2


class DispatcherConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The dispatcher's configuration, as JSON on its standard input.

    Args:
        run_directory: where the sockets are.
        tools: the tools that it serves.
        secret: signs the ids of calls, so that those of an earlier dispatcher are known as such.
        retention: see `Retention`.
        drain_s: seconds that running calls get when the server ends.
        result_bytes: that a call may return.
        unsafe: whether tools that run what a model wrote go without a sandbox.
        cgroup: the folder of the cgroup whose children hold sandboxes, if one is delegated to us.
        log_level: of this process.
        hello_limit_s: seconds that the first worker of each tool may take to say hello.
        tap_limit_s: seconds that the tap's hello may come later than that of the HTTP hooks.
    """

    run_directory: str
    tools: list[ToolSpec]
    secret: str
    retention: Retention = Retention()
    drain_s: float = 5.0
    result_bytes: int = RESULT_BYTES
    unsafe: bool = False
    cgroup: str | None = None
    log_level: str = "info"
    hello_limit_s: float = 60.0
    tap_limit_s: float = 10.0


class Report(msgspec.Struct, tag=True):
    """A line of JSON on the dispatcher's standard output."""


class WorkersReady(Report):
    """A worker of each tool has said hello."""


class ServerReady(Report):
    """The tap and the HTTP hooks have said hello too; again for each server of SGLang."""


class NotReady(Report):
    """A hello did not come."""

    reason: str
