"""Every message that crosses a socket: tagged structs in MessagePack, behind a version byte.

Nothing here is ever unpickled, and nothing is decoded loosely: what crosses a process boundary
may come from a model.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

import msgspec

from sgl_conveyor.core import Outcome, TextPiece, ToolError
from sgl_conveyor.errors import ProtocolError
from sgl_conveyor.specs import RESULT_BYTES, Grammar, ToolInfo, ToolSpec
from sgl_conveyor.timings import Span, UnitTiming

#: The first byte of every frame; it changes when a message changes.
VERSION: Final = 3

#: Longest wait of one `ReadCall` (seconds).
MAX_WAIT_S: Final = 300.0
#: Bytes of the text that a tool may give another one.
MAX_CALL_BYTES: Final = 1024 * 1024
#: No frame is larger than this (bytes): a larger one is refused before it is read.
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
#: Nor is one that comes out of a sandbox larger than this (bytes).
MAX_SANDBOX_FRAME_BYTES: Final = 1024 * 1024
#: Of what may be larger a worker sends pieces of so many bytes, characters, or units.
PIECE_BYTES: Final = 512 * 1024
PIECE_CHARS: Final = 128 * 1024
PIECE_UNITS: Final = 8 * 1024


class _Message(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    pass


# --- SGLang's scheduler → dispatcher (PUSH → PULL) -------------------------------------------


class Finish(_Message):
    """How a request ended.

    Args:
        type: `stop`, `length` or `abort`.
        matched: the stop string or token that ended it.
        message: why it was aborted.
        failed: whether that is an error of the request: a grammar that does not compile.
    """

    type: str
    matched: str | int | None = None
    message: str = ""
    failed: bool = False


class TapRecord(_Message, gc=False):
    """The tokens that one step committed for one tapped request.

    Args:
        rid: SGLang's id of the request.
        offset: tokens sent before these.
        tokens: token ids.
        prompt_tail: the prompt's last token ids, in a request's first record only.
        finish: set in the last record.
    """

    rid: str
    offset: int
    tokens: list[int]
    prompt_tail: list[int] | None = None
    finish: Finish | None = None


class TapHello(_Message, tag="tap_hello"):
    """The tap is in place, in the scheduler process `pid`."""

    pid: int


class TapStep(_Message, gc=False, tag="tap_step"):
    """One scheduler step: when it committed (monotonic seconds), and a record a tapped request."""

    at: float
    records: list[TapRecord]


FromTap = TapHello | TapStep


# --- SGLang's HTTP process → dispatcher (DEALER → ROUTER) ------------------------------------


class HttpHello(_Message, tag="http_hello"):
    """The HTTP hooks are in place; the served model's tokenizer lies in this file.

    Another `pid` than before means that SGLang was started again: its requests are gone.
    """

    pid: int
    tokenizer: str


class CreateCall(_Message, tag="create"):
    """Create a call and start `open()`.

    Args:
        seq: echoed by the answer.
        tool: the tool's name.
        region: the region's name.
        partial: whether the tool is fed while decoding.
        sent_at: when the client sent its POST (monotonic seconds).
    """

    seq: int
    tool: str
    region: str
    partial: bool
    sent_at: float


class AttachRequest(_Message, tag="attach"):
    """A request wants to decode a call's region; how SGLang will cut and show its text.

    Args:
        seq: echoed by the answer.
        call: the call's id.
        rid: SGLang's id of the request.
        stop: stop strings.
        keep_stop: whether a matched stop stays in the text (`no_stop_trim`).
        skip_special_tokens: whether special tokens are left out of the text.
    """

    seq: int
    call: str
    rid: str
    stop: list[str]
    keep_stop: bool
    skip_special_tokens: bool


class RequestEnded(_Message, tag="ended"):
    """The HTTP side's view of a request's end.

    Args:
        rid: SGLang's id of the request.
        tokens: tokens that were committed, at a normal end; None when it was aborted.
        reason: why it was aborted.
        failed: whether that is an error of the request: SGLang refused it.
    """

    rid: str
    tokens: int | None
    reason: str
    failed: bool = False


class LiveRequests(_Message, tag="live"):
    """The ids of all attached requests that the HTTP side has not reported the end of."""

    rids: list[str]


class ReadCall(_Message, tag="read"):
    """What is known of a call; the answer waits up to `wait` seconds for its end."""

    seq: int
    call: str
    wait: float


class DeleteCall(_Message, tag="delete"):
    """The client wants no more of a call."""

    seq: int
    call: str


FromHttp = (
    HttpHello | CreateCall | AttachRequest | RequestEnded | LiveRequests | ReadCall | DeleteCall
)


class Created(_Message, tag="created"):
    """The answer to `CreateCall`."""

    seq: int
    call: str
    grammar: Grammar
    timeout_s: float


class Attached(_Message, tag="attached"):
    """The answer to `AttachRequest`."""

    seq: int


class CallView(_Message, tag="view"):
    """The answer to `ReadCall` and `DeleteCall`; until the call has ended its outcome grows.

    The outcome's value is JSON, as bytes: nobody on the way reads what a tool returned.
    """

    seq: int
    call: str
    tool: str
    region: str
    state: str
    text: str
    ended: bool
    outcome: Outcome


class Refused(_Message, tag="refused"):
    """The answer to a request that cannot be served: an HTTP status and one sentence."""

    seq: int
    status: int
    message: str


class StopRequest(_Message, tag="stop_request"):
    """The dispatcher wants a running request to end: its tool aborted, or its client did."""

    rid: str


ToHttp = Created | Attached | CallView | Refused | StopRequest


# --- host → worker, as JSON on its standard input ----------------------------------------------


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a host tells a worker when it starts it.

    Args:
        spec: the tool's description; inside a sandbox its environment is all that there is.
        channel: the descriptor of its end of the pair of sockets, which it inherits.
        parent: the process that started it, without which it ends.
        sandboxed: whether to enter a sandbox first.
        syscall_filter: the descriptor of the system calls that may be made there.
        cgroup: the folder of the cgroup that it moves to first, if there is one.
        once: whether to serve one call only.
        result_bytes: that a call may return.
        registry: the server's tools, which a tool without a sandbox may call.
        inside: whether it is in the sandbox already.
    """

    spec: ToolSpec
    channel: int
    parent: int
    sandboxed: bool
    syscall_filter: int | None
    cgroup: str | None = None
    once: bool
    result_bytes: int = RESULT_BYTES
    registry: list[ToolInfo] = []
    inside: bool = False


# --- dispatcher → worker ---------------------------------------------------------------------


class OpenCall(_Message, tag="open"):
    """A new call for this worker."""

    call: str
    region: str


class FeedText(_Message, tag="text"):
    """The region's text goes on, in the pieces in which it became certain."""

    call: str
    pieces: list[TextPiece]


class EndRegion(_Message, tag="end"):
    """The region is complete; `at` is the commit of the finishing token."""

    call: str
    at: float


class FinishCall(_Message, tag="finish"):
    """The answer to `Drained`: run `finish()`."""

    call: str


class ToolAnswer(_Message, tag="answer"):
    """What a call that a tool made came to; the outcome's value is JSON, as bytes.

    Args:
        call: the call whose tool asked.
        ref: which of its questions this answers.
        outcome: of the call that it made.
    """

    call: str
    ref: int
    outcome: Outcome


class AbortCall(_Message, tag="abort"):
    """The region will never complete."""

    call: str
    reason: str


class CancelCall(_Message, tag="cancel"):
    """Stop the call where it is: neither `finish` nor `abort` runs."""

    call: str


ToWorker = OpenCall | FeedText | EndRegion | FinishCall | ToolAnswer | AbortCall | CancelCall


# --- worker → dispatcher ---------------------------------------------------------------------


class WorkerHello(_Message, tag="worker_hello"):
    """The worker waits for calls."""

    pid: int


class Opened(_Message, tag="opened"):
    """`open()` has returned."""

    call: str
    started: float
    ended: float


class Progress(_Message, tag="progress"):
    """Hooks that have run (monotonic seconds), and how many `FeedText` are behind them."""

    call: str
    units: list[UnitTiming]
    fed: int


class Emitted(_Message, tag="emitted"):
    """Output of a call that still runs."""

    call: str
    text: str


class DataPiece(_Message, tag="piece"):
    """A piece of what a `FileSent` or a `Finished` brings to its end; the first one is number 0."""

    call: str
    number: int
    data: bytes


class FileSent(_Message, tag="file"):
    """A file for the call's result.

    Args:
        call: whose.
        name: `figure-1.png`.
        media_type: `image/png`.
        data: its last bytes, or all.
        pieces: how many `DataPiece` bring what is before these.
    """

    call: str
    name: str
    media_type: str
    data: bytes
    pieces: int = 0


class Worked(_Message, tag="worked"):
    """Work beside the hooks has ended (monotonic seconds)."""

    call: str
    span: Span


class CallTool(_Message, tag="call_tool"):
    """A tool calls another one.

    Args:
        call: the call whose tool asks.
        ref: what `ToolAnswer` will repeat.
        tool: the other tool's name.
        text: its input.
    """

    call: str
    ref: int
    tool: str
    text: str


class DropCall(_Message, tag="drop_call"):
    """A tool no longer waits for the call that it made with this `ref`."""

    call: str
    ref: int


class Drained(_Message, tag="drained"):
    """All units of a call have run; may it finish? (A `read_only` tool does not ask.)

    Before the answer nothing has had an outside effect: the call can be aborted, or begin again on
    another worker.
    """

    call: str


class Finished(_Message, tag="finished"):
    """`finish()` has returned.

    Args:
        call: whose.
        value: the last bytes of the result as JSON, or all.
        error: why the result is only a part, if it is.
        started: when `finish()` began (monotonic seconds).
        ended: when it returned.
        pieces: how many `DataPiece` bring what is before these bytes.
    """

    call: str
    value: bytes
    error: ToolError | None
    started: float
    ended: float
    pieces: int = 0


class HookRaised(_Message, tag="hook_raised"):
    """A hook raised; `abort()` runs next."""

    call: str
    error: ToolError


class AbortRaised(_Message, tag="abort_raised"):
    """A hook raised `ToolAbort`; `abort()` runs next."""

    call: str
    reason: str


class Released(_Message, tag="released"):
    """The call is over in this worker: nothing of it runs any more."""

    call: str


FromWorker = (
    WorkerHello | Opened | Progress | Emitted | DataPiece | FileSent | Worked | CallTool | DropCall
    | Drained | Finished | HookRaised | AbortRaised | Released
)  # fmt: skip


_encoder = msgspec.msgpack.Encoder()
_M = TypeVar("_M")


def encode(message: _Message) -> bytes:
    """One frame: the version byte, then the message."""
    return bytes((VERSION,)) + _encoder.encode(message)


class Decoder(Generic[_M]):
    """Decodes the frames of one direction.

    Args:
        union: the messages that may come, as a union of their types.
    """

    def __init__(self, union: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[_M] = msgspec.msgpack.Decoder(union, strict=True)

    def decode(self, frame: bytes) -> _M:
        """The message in a frame.

        Raises:
            ProtocolError: the frame is no message of this direction and version.
        """
        if not frame or frame[0] != VERSION:
            raise ProtocolError(
                f"a frame of {len(frame)} bytes does not begin with version {VERSION}: "
                "its sender runs another version of sgl_conveyor, or is none of ours"
            )
        try:
            return self._decoder.decode(memoryview(frame)[1:])
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            # Quoted and cut: the sender may have chosen the words.
            reason = repr(str(error)[:200])
            raise ProtocolError(
                f"a frame of {len(frame)} bytes is no valid message: {reason}"
            ) from None


def from_tap() -> Decoder[FromTap]:
    """The decoder of what the tap sends."""
    return Decoder(FromTap)


def from_http() -> Decoder[FromHttp]:
    """The decoder of what the HTTP process sends."""
    return Decoder(FromHttp)


def to_http() -> Decoder[ToHttp]:
    """The decoder of what the dispatcher answers to the HTTP process."""
    return Decoder(ToHttp)


def to_worker() -> Decoder[ToWorker]:
    """The decoder of what a worker is told."""
    return Decoder(ToWorker)


def from_worker() -> Decoder[FromWorker]:
    """The decoder of what a worker answers."""
    return Decoder(FromWorker)
