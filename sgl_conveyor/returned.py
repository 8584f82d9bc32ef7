"""What a call's worker returns, put together and weighed where it arrives."""

from __future__ import annotations

import msgspec

from sgl_conveyor import messages as m
from sgl_conveyor.errors import ProtocolError, ResultTooLarge


class Returned:
    """The value, the files and the output of one call, on their way.

    Args:
        limit: bytes of all of them together.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._room = limit
        # Grows piece by piece: to put 16 MiB together at once would stop the event loop for 10 ms.
        self._data = bytearray()
        self._pieces = 0

    def begin_again(self) -> None:
        """Forget what came: another worker begins the call anew."""
        self._room = self._limit
        self._data, self._pieces = bytearray(), 0

    def take(self, message: m.FromWorker) -> m.FromWorker | None:
        """The message with all that belongs to it; None if more of it is to come.

        Raises:
            ResultTooLarge: the call returns more than it may.
            ProtocolError: pieces are missing.
        """
        match message:
            case m.Emitted():
                self._spend(len(message.text.encode(errors="replace")))
            case m.DataPiece():
                self._spend(len(message.data))
                if message.number == 0:
                    self._data, self._pieces = bytearray(), 0
                if message.number != self._pieces:
                    raise ProtocolError(f"piece {message.number} came after {self._pieces}")
                self._data += message.data
                self._pieces += 1
                return None
            case m.FileSent():
                self._spend(len(message.data))
                return msgspec.structs.replace(
                    message, data=self._whole(message.data, message.pieces), pieces=0
                )
            case m.Finished():
                self._spend(len(message.value))
                return msgspec.structs.replace(
                    message, value=self._whole(message.value, message.pieces), pieces=0
                )
        return message

    def _whole(self, last: bytes, pieces: int) -> bytes | bytearray:
        if pieces == 0:
            return last
        came, self._pieces = self._pieces, 0
        if came != pieces:
            raise ProtocolError(f"{pieces} pieces are announced, {came} came")
        data, self._data = self._data, bytearray()
        data += last
        return data

    def _spend(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise ResultTooLarge(too_much(self._limit))


def too_much(limit: int) -> str:
    """What is said of a call that returns more than so many bytes."""
    return (
        f"the call returns more than {limit} bytes, its value, its files and its output together: "
        "return less, or raise --conveyor-result-mib"
    )
