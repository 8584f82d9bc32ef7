"""Every error that this package raises."""

from __future__ import annotations


class ConveyorError(Exception):
    """The base of every error that this package raises."""


class ConfigurationError(ConveyorError):
    """The server cannot start as it was asked to; the launcher exits with code 2."""


class ProtocolError(ConveyorError):
    """Bytes on a socket that are no valid message."""


class ChannelClosed(ConveyorError):
    """The other end of a worker's channel is gone."""


class TransitionError(ConveyorError):
    """An event came that is impossible in the call's state; the message holds its history."""


class HostError(ConveyorError):
    """A host could not do what it was asked to; the message says why."""


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


class ToolAbort(ConveyorError):
    """Raised by a hook: decoding of the region stops at once, and `abort(reason)` runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ResultTooLarge(ConveyorError):
    """A call returns more than it may: its value, its files and its output together."""


class QueueOverflow(ConveyorError):
    """More waits than may: for a call's hooks, or for a dispatcher that does not read."""


class DispatcherGone(ConveyorError):
    """The dispatcher is not there, or ended before it answered."""


class DispatcherSlow(DispatcherGone):
    """The dispatcher is there, but did not answer in time."""
