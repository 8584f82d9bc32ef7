"""The nouns of the system, without I/O: tools as they are described, results, timings, errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from sgl_conveyor.chrome_trace import ChromeTrace
    from sgl_conveyor.theory import Hidden


class ConveyorError(Exception):
    """The base of every error that this package raises."""


class ConfigurationError(ConveyorError):
    """The server cannot start as it was asked to; the launcher exits with code 2."""


class ProtocolError(ConveyorError):
    """Bytes on a socket that are no valid message."""


class TransitionError(ConveyorError):
    """An event came that is impossible in the call's state; the message holds its history."""


class CallRefused(ConveyorError):
    """A call cannot be created, attached to or read.

    Args:
        status: the HTTP status that says so (400, 404, 410 or 503).
        message: one sentence for the client.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class InvalidArguments(ConveyorError):
    """A region's text is not what the tool's arguments must be; the call ends with this error."""


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


class Attachment(msgspec.Struct, frozen=True):
    """A file in a result: a figure, say.

    Args:
        name: `figure-1.png`.
        media_type: `image/png`.
        data: its bytes (in JSON: as base64).
    """

    name: str
    media_type: str
    data: bytes


class ToolError(msgspec.Struct, frozen=True):
    """Why a call has no result, or only a part of one."""

    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class TextPiece(msgspec.Struct, frozen=True, array_like=True):
    """Text that one token made certain, and that token's commit (monotonic seconds)."""

    text: str
    at: float


class UnitTiming(msgspec.Struct, frozen=True, array_like=True):
    """When one unit was certain, when its hook started and when it ended (seconds)."""

    ready: float
    started: float
    ended: float


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Work beside the hooks, in a task or another tool: what, and its start and end (seconds).

    Args:
        label: what the tool calls it.
        started, ended: when.
        unit: the number of the unit whose hook began it; -1 for `open`, the count of units for
            `finish`.
    """

    label: str
    started: float
    ended: float
    unit: int


class Timings(msgspec.Struct, kw_only=True):
    """When things happened in a call, in seconds since the client sent its POST.

    Args:
        partial: whether the tool was fed while decoding; if not, its text was held until
            `region_end`, though each unit keeps the time at which it was certain.
        queued: the request was handed to the scheduler.
        first_token: the commit of the first token.
        tokens: the commit of each token.
        units: each unit's `UnitTiming`.
        spans: work beside the hooks, as the tool declared it with `span`.
        open_started, opened: the hook `open`.
        region_end: the commit of the finishing token, EOS included.
        finish_started: the hook `finish`.
        finished: the result was there.
    """

    partial: bool = True
    queued: float | None = None
    first_token: float | None = None
    tokens: list[float] = []
    units: list[UnitTiming] = []
    spans: list[Span] = []
    open_started: float | None = None
    opened: float | None = None
    region_end: float | None = None
    finish_started: float | None = None
    finished: float | None = None

    @property
    def decode(self) -> float | None:
        """Seconds from the first token's commit to the region's end."""
        return _span(self.first_token, self.region_end)

    @property
    def tool(self) -> float:
        """Seconds in which a hook, or declared work beside the hooks, ran."""
        work = [(unit.started, unit.ended) for unit in self.units]
        work += [(span.started, span.ended) for span in self.spans]
        for start, end in (
            (self.open_started, self.opened),
            (self.finish_started, self.finished),
        ):
            if start is not None and end is not None:
                work.append((start, end))
        return _length_of_union(work)

    @property
    def exposed(self) -> float | None:
        """Seconds that the program waits for the tool after the region's end."""
        return _span(self.region_end, self.finished)

    @property
    def hidden(self) -> float | None:
        """Seconds of the tool that ran while the region was still being decoded."""
        exposed = self.exposed
        return None if exposed is None else max(0.0, self.tool - exposed)

    def dispatch(self) -> list[float]:
        """Seconds from each unit's certainty to its hook, without queueing behind earlier units."""
        return [u.started - max(u.ready, free) for u, free in self._with_free()]

    def queueing(self) -> list[float]:
        """Seconds that each unit, already certain, waited for the tool's own earlier work."""
        return [max(0.0, free - u.ready) for u, free in self._with_free()]

    def explain(self) -> Hidden:
        """How much of the tool's time was hidden, how much could have been, and what stood in the
        way.

        Raises:
            ValueError: the call has not ended.
        """
        from sgl_conveyor.theory import explain

        return explain(self)

    def to_chrome_trace(self, name: str = "call") -> ChromeTrace:
        """Show the call as rows of slices in a viewer: `to_chrome_trace().save(path)`.

        Args:
            name: what the viewer calls it.
        """
        from sgl_conveyor.chrome_trace import chrome_trace

        return chrome_trace(self, name)

    def _with_free(self) -> list[tuple[UnitTiming, float]]:
        """Each unit with the time at which the tool was free for it."""
        free = max(self.opened or 0.0, 0.0 if self.partial else self.region_end or 0.0)
        pairs = []
        for unit in self.units:
            pairs.append((unit, free))
            free = unit.ended
        return pairs


def _span(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)


def _length_of_union(intervals: list[tuple[float, float]]) -> float:
    """The length of what at least one interval covers."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


class Outcome(msgspec.Struct, kw_only=True):
    """What a call came to; `ToolResult` shows it to programs."""

    value: Any = None
    error: ToolError | None = None
    aborted: str | None = None
    emitted: str = ""
    attachments: list[Attachment] = []
    timings: Timings = msgspec.field(default_factory=Timings)

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return self.value
        if self.error is not None:
            return f"Error: {self.error}"
        if self.aborted is not None:
            return f"Aborted: {self.aborted}"
        return msgspec.json.encode(self.value).decode()


class ToolResult:
    """The result of a call: there already, or waited for by whoever first reads a field.

    Args:
        outcome: the outcome itself, or a function that waits for it (with a limit of its own)
            and returns it; it is called at most once at a time and its answer is kept.
    """

    def __init__(self, outcome: Outcome | Callable[[], Outcome]) -> None:
        self._outcome = outcome
        self._asking = threading.Lock()

    def outcome(self) -> Outcome:
        """Wait for the call's end, decoding included, and return what it came to."""
        with self._asking:
            if not isinstance(self._outcome, Outcome):
                self._outcome = self._outcome()
            return self._outcome

    @property
    def value(self) -> Any:
        return self.outcome().value

    @property
    def error(self) -> ToolError | None:
        return self.outcome().error

    @property
    def aborted(self) -> str | None:
        return self.outcome().aborted

    @property
    def emitted(self) -> str:
        return self.outcome().emitted

    @property
    def attachments(self) -> list[Attachment]:
        return self.outcome().attachments

    @property
    def timings(self) -> Timings:
        return self.outcome().timings

    def __str__(self) -> str:
        return str(self.outcome())

    def __repr__(self) -> str:
        pending = not isinstance(self._outcome, Outcome)
        return "ToolResult(pending)" if pending else f"ToolResult({self._outcome!r})"
