"""What a worker said, as an event of its call; checked here, since a model may have said it."""

from __future__ import annotations

import codecs
import time

import msgspec

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import Attachment, ToolError

#: Characters of an error's message, or of an abort's reason, that a worker may give.
_MAX_REASON_CHARS = 2000
_MAX_NAME_CHARS = 200
_DECODED_AT_ONCE = 1024 * 1024


def event_of(message: m.FromWorker) -> events.Event | None:
    """The event that a message means, or None if the call's life does not ask for it.

    That of a `Finished` is `finished`, once its value was checked.
    """
    match message:
        case m.Opened():
            return events.ToolOpened(message.started, message.ended)
        case m.Progress():
            return events.UnitsRan(message.units)
        case m.Emitted():
            return events.OutputEmitted(message.text)
        case m.FileSent():
            name, kind = message.name[:_MAX_NAME_CHARS], message.media_type[:_MAX_NAME_CHARS]
            return events.FileAttached(Attachment(name, kind, message.data))
        case m.Worked():
            # A process that runs what a model wrote need not have cut it.
            label = message.span.label[:_MAX_NAME_CHARS]
            return events.WorkEnded(msgspec.structs.replace(message.span, label=label))
        case m.Drained():
            return events.UnitsDone(time.monotonic())
        case m.HookRaised():
            return events.ToolFailed(time.monotonic(), _cut(message.error))
        case m.AbortRaised():
            return events.ToolAborted(time.monotonic(), message.reason[:_MAX_REASON_CHARS])
        case _:
            return None


def _cut(error: ToolError) -> ToolError:
    return ToolError(error.type[:100], error.message[:_MAX_REASON_CHARS])


def finished(message: m.Finished, why_not: str | None) -> events.Event:
    """The event of a result, whose value stays JSON and is passed on.

    Args:
        message: the whole result.
        why_not: what is wrong with its value: a model may have made it.
    """
    if why_not is not None:
        failed = ToolError("ProtocolError", f"the tool's result cannot be kept: {why_not}")
        return events.ToolFailed(time.monotonic(), failed)
    partly = None if message.error is None else _cut(message.error)
    return events.ToolFinished(message.value, partly, message.started, message.ended)


def why_no_json(value: bytes | bytearray) -> str | None:
    """What is wrong with a value that should be JSON; None if a client can read it.

    No object is made of what it holds.

    Args:
        value: as it came.
    """
    try:
        msgspec.json.decode(value, type=msgspec.Raw)
        # `Raw` looks into no text.
        decoder = codecs.getincrementaldecoder("utf-8")()
        for start in range(0, len(value), _DECODED_AT_ONCE):
            decoder.decode(value[start : start + _DECODED_AT_ONCE])
        decoder.decode(b"", final=True)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return str(error)[:_MAX_REASON_CHARS]
    return None
