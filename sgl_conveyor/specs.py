"""Tools as the processes describe them to each other: grammar, limits, contract."""

from __future__ import annotations

from typing import Final

import msgspec

#: Bytes that a call may return unless the server says otherwise: value, files and output together.
RESULT_BYTES: Final = 16 * 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker of a tool may use, and how long its hooks may take.

    Args:
        timeout_s: seconds for one hook, and from the region's end to the result.
        concurrency: calls at once in one worker.
        workers: processes that serve at once.
        queue: calls that may wait for a worker.
        memory_bytes: memory of one worker; None is no limit (a sandbox always has one).
        idle_s: seconds without a call after which a worker ends, until one comes; None keeps
            it warm.
    """

    timeout_s: float = 30.0
    concurrency: int = 1
    workers: int = 1
    queue: int = 256
    memory_bytes: int | None = None
    idle_s: float | None = None


class Grammar(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a region's text must look like: at most one of three grammars, and stop strings."""

    regex: str | None = None
    ebnf: str | None = None
    json_schema: str | None = None
    stop: list[str] | None = None


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as the processes describe it to each other.

    Args:
        name: what programs and clients call it.
        source: where a worker loads it from, `module:attribute`.
        description: its docstring.
        parameters: the JSON schema of its arguments, as JSON text; None without `Args`.
        hooks: the names of the hooks that it overrides.
        grammar: what the text of its regions must look like, if the region does not say.
        limits: see `Limits`.
        sandbox: whether it runs what a model wrote.
        replayable: whether nothing before `finish` has an outside effect.
        read_only: whether nothing at all has one, `finish` included.
        environment: variables for its workers, on top of (in a sandbox: instead of) ours.
    """

    name: str
    source: str
    description: str = ""
    parameters: str | None = None
    hooks: frozenset[str] = frozenset()
    grammar: Grammar = Grammar()
    limits: Limits = Limits()
    sandbox: bool = False
    replayable: bool = False
    read_only: bool = False
    environment: dict[str, str] = {}

    @property
    def takes_units(self) -> bool:
        """Whether text must reach the tool while the region is still being decoded."""
        return any(hook.startswith("on_") for hook in self.hooks)


class ToolInfo(msgspec.Struct, frozen=True):
    """What one tool may know of another: enough to call it.

    Args:
        name: what it is called by.
        description: its docstring.
        parameters: the JSON schema of its arguments, as JSON text; None if it takes a plain text.
        read_only: whether a call of it has no outside effect at all.
    """

    name: str
    description: str
    parameters: str | None
    read_only: bool
