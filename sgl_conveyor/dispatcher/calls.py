"""The calls that the dispatcher keeps: found by their ids, forgotten in time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from sgl_conveyor.dispatcher.config import Retention
from sgl_conveyor.errors import CallRefused

_RANDOM_BYTES = 16
_SIGNATURE_DIGITS = 16


class CallIds:
    """Makes ids that nobody can guess, all of one length, and knows its own again.

    A signature tells an id that this server gave out earlier (410) from any other text (404),
    without keeping a list, over restarts of the dispatcher too.

    Args:
        secret: the server's; the same for every dispatcher of one launch.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def new(self) -> str:
        """A fresh id: 48 hex digits."""
        random = secrets.token_hex(_RANDOM_BYTES)
        return random + self._signature(random)

    def given_out(self, call: str) -> bool:
        """Whether this server made the id."""
        random, signature = call[: 2 * _RANDOM_BYTES], call[2 * _RANDOM_BYTES :]
        return hmac.compare_digest(
            signature.encode(errors="replace"), self._signature(random).encode()
        )

    def _signature(self, random: str) -> str:
        digest = hmac.new(self._secret, random.encode(errors="replace"), hashlib.sha256)
        return digest.hexdigest()[:_SIGNATURE_DIGITS]


class Kept(Protocol):
    """What a table keeps."""

    id: str

    @property
    def ended_at(self) -> float | None: ...

    @property
    def size_bytes(self) -> int: ...


_K = TypeVar("_K", bound=Kept)


class CallTable(Generic[_K]):
    """Calls by id, in the order in which they were created.

    Those that ended are kept in the order of their ends besides, with their number of bytes: to
    forget some costs as much as what is forgotten, whatever is kept.

    Args:
        ids: makes the ids.
        retention: when ended calls are forgotten.
    """

    def __init__(self, ids: CallIds, retention: Retention) -> None:
        self._ids = ids
        self._retention = retention
        self._calls: OrderedDict[str, _K] = OrderedDict()
        # When each ended, and the bytes that it held then.
        self._ended: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._held_bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[_K]:
        return iter(list(self._calls.values()))

    def add(self, call: _K) -> None:
        """Keep a new call.

        Raises:
            CallRefused: as many calls as may be kept are still running (503).
        """
        self.sweep(room=1)
        if len(self._calls) >= self._retention.calls:
            raise CallRefused(503, f"{len(self._calls)} calls are running already: try later")
        self._calls[call.id] = call

    def ended(self, call: _K) -> None:
        """From now on a call may be forgotten; what it holds is counted as it is now."""
        if call.id not in self._calls or call.id in self._ended:
            return
        ended_at = call.ended_at if call.ended_at is not None else time.monotonic()
        self._ended[call.id] = (ended_at, size := call.size_bytes)
        self._held_bytes += size

    def get(self, call: str) -> _K | None:
        """The call of this id, or None."""
        return self._calls.get(call)

    def find(self, call: str) -> _K:
        """The call of this id.

        Raises:
            CallRefused: it was never created (404), or is no longer kept (410).
        """
        found = self._calls.get(call)
        if found is not None:
            return found
        if self._ids.given_out(call):
            raise CallRefused(
                410, "the call is no longer kept: its result expired, or its dispatcher ended"
            )
        raise CallRefused(404, "there is no such call")

    def remove(self, call: str) -> None:
        """Forget a call."""
        self._calls.pop(call, None)
        _, size = self._ended.pop(call, (0.0, 0))
        self._held_bytes -= size

    def sweep(self, room: int = 0) -> None:
        """Forget ended calls that are too old, and the oldest of those that are too many.

        Args:
            room: how many places to leave.
        """
        too_old = time.monotonic() - self._retention.seconds
        most = self._retention.calls - room
        while self._ended:
            first = next(iter(self._ended))
            old = self._ended[first][0] < too_old
            many = len(self._calls) > most or self._held_bytes > self._retention.bytes
            if not old and not many:
                return
            self.remove(first)
