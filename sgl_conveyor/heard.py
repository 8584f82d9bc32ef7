"""What a worker said, as an event of its call; checked here, since a model may have said it."""

from __future__ import annotations

import time

import msgspec

from sgl_conveyor import events
from sgl_conveyor import messages as m
from sgl_conveyor.core import Attachment, ToolError

#: Characters of an error's message, or of an abort's reason, that a worker may give.
_MAX_REASON_CHARS = 2000
_MAX_NAME_CHARS = 200


def event_of(message: m.FromWorker) -> events.Event | None:
    """The event that a message means, or None if the call's life does not ask for it."""
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
        case m.Finished():
            return _finished(message)
        case _:
            return None


def _cut(error: ToolError) -> ToolError:
    return ToolError(error.type[:100], error.message[:_MAX_REASON_CHARS])


def _finished(message: m.Finished) -> events.Event:
    """The value stays JSON: it is checked, for a model may have made it, and then passed on."""
    try:
        if len(message.value) > m.MAX_RESULT_BYTES:
            raise ValueError(f"{len(message.value)} bytes are more than {m.MAX_RESULT_BYTES}")
        # In full: msgspec's `Raw` lets through what no client could read.
        msgspec.json.decode(message.value)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        failed = ToolError("ProtocolError", f"the tool's result cannot be kept: {error}")
        return events.ToolFailed(time.monotonic(), failed)
    partly = None if message.error is None else _cut(message.error)
    return events.ToolFinished(message.value, partly, message.started, message.ended)
