"""The tap: each scheduler step, one message with the tokens that tapped requests committed.

It runs inside SGLang's scheduler loop: it never blocks, never raises, and costs microseconds. A
message that cannot be sent at once is lost; the dispatcher notices the gap in the offsets.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import zmq

from sgl_conveyor import messages as m
from sgl_conveyor.channel import RunDirectory, configure

logger = logging.getLogger(__name__)

_STREAMER = "sglang.srt.managers.scheduler_components.output_streamer.SchedulerOutputStreamer"
#: As many prompt tokens as SGLang's own detokenizer looks back on.
PROMPT_TAIL = 5
_MARK = "_conveyor"
_MAX_MESSAGE_CHARS = 2000


class _Tapped:
    """What the tap remembers of a request, on the request itself: it survives a retraction."""

    __slots__ = ("finished", "rid", "sent")

    def __init__(self, rid: str) -> None:
        self.rid = rid
        self.sent = 0
        self.finished = False


class Tap:
    """Copies committed tokens out of the scheduler.

    Args:
        socket: a PUSH socket to the dispatcher.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._failures = 0

    def hello(self) -> None:
        """Say that the tap is in place."""
        self._socket.send(m.encode(m.TapHello(os.getpid())), zmq.DONTWAIT)

    def observe(self, reqs: Iterable[Any], skip_req: Any = None) -> None:
        """Send what this step committed; whatever goes wrong is logged, and SGLang goes on.

        Args:
            reqs: the batch's requests (`sglang.srt.managers.schedule_batch.Req`).
            skip_req: one of them that SGLang does not stream either.
        """
        records = []
        try:
            for req in reqs:
                tapped = getattr(req, _MARK, _UNKNOWN)
                if tapped is None or req is skip_req:
                    continue
                try:
                    record = _record(req, tapped)
                except Exception:
                    # One request that cannot be read costs the others nothing.
                    self._failed()
                    continue
                if record is not None:
                    records.append(record)
            if records:
                self._socket.send(m.encode(m.TapStep(time.monotonic(), records)), zmq.DONTWAIT)
        except Exception:
            self._failed()

    def _failed(self) -> None:
        """Log an error at each power of two, so that a lasting fault does not fill the log."""
        self._failures += 1
        if self._failures & (self._failures - 1) == 0:
            logger.exception("the tap failed (%d times so far)", self._failures)


_UNKNOWN = _Tapped("")


def _record(req: Any, tapped: _Tapped) -> m.TapRecord | None:
    """What one request committed since the last look; None if nothing, or it is not tapped.

    It runs for each tapped request at each step: the common case, one more token, comes first.
    """
    if tapped is _UNKNOWN:
        if not _is_ours(req):
            setattr(req, _MARK, None)
            return None
        tapped = _Tapped(req.rid)
        setattr(req, _MARK, tapped)
    offset = tapped.sent
    if req.finished_reason is None:
        ids = req.output_ids
        count = len(ids) - offset
        if count <= 0:
            return None
        tapped.sent = offset + count
        tokens = [ids[-1]] if count == 1 else list(ids[offset:])
        if offset:
            return m.TapRecord(tapped.rid, offset, tokens)
        return m.TapRecord(tapped.rid, 0, tokens, _prompt_tail(req))
    # With overlap a finished request comes twice, the second time with a token too many.
    if tapped.finished or req.finished_output:
        return None
    tapped.finished = True
    tokens = list(req.output_ids_through_stop[offset:])
    tapped.sent = offset + len(tokens)
    tail = None if offset else _prompt_tail(req)
    return m.TapRecord(tapped.rid, offset, tokens, tail, _finish(req.finished_reason))


def _prompt_tail(req: Any) -> list[int]:
    # As SGLang's own detokenizer: without the placeholders of images.
    return list(req.origin_input_ids_unpadded[-PROMPT_TAIL:])


def _is_ours(req: Any) -> bool:
    custom = req.sampling_params.custom_params
    ours = custom.get("conveyor") if isinstance(custom, dict) else None
    return isinstance(ours, dict) and isinstance(ours.get("call"), str)


def _finish(reason: Any) -> m.Finish:
    data = reason.to_json()
    matched = data.get("matched")
    # Only an error of the request has a status, a grammar that does not compile say.
    failed = data.get("status_code") is not None
    return m.Finish(
        data["type"],
        matched if isinstance(matched, (str, int)) else None,
        str(data.get("message", ""))[:_MAX_MESSAGE_CHARS] if failed else "",
        failed,
    )


def register_tap(directory: RunDirectory, missing: Callable[[], str | None] = lambda: None) -> None:
    """Register the hooks that put the tap into the process that streams output.

    Args:
        directory: where the dispatcher's sockets are.
        missing: names a hook of this process that SGLang could not apply, if there is one.
    """
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    # One a process: it is made when the scheduler makes its output streamer.
    taps: list[Tap] = []

    def streamer_made(_result: Any, streamer: Any, *_args: Any, **_kwargs: Any) -> None:
        sender = streamer.send_to_detokenizer
        # Of all ranks only one streams: tensor, pipeline and context parallel peers do not.
        if getattr(sender, "socket", sender) is None or taps:
            return
        if (hook := missing()) is not None:
            # Then the launcher refuses to start, for want of the hello.
            logger.error("the hook on %s is not in place: see the log above", hook)
            return
        socket: zmq.Socket[bytes] = configure(zmq.Context.instance().socket(zmq.PUSH))
        socket.connect(directory.tap)
        taps.append(Tap(socket))
        taps[0].hello()

    # The parameters have the names of the method's own, by which it may be called.
    def before_stream_output(
        self: Any, reqs: Any, return_logprob: bool, skip_req: Any = None
    ) -> None:
        if taps:
            taps[0].observe(reqs, skip_req)

    HookRegistry.register(f"{_STREAMER}.__init__", streamer_made, HookType.AFTER)
    HookRegistry.register(f"{_STREAMER}.stream_output", before_stream_output, HookType.BEFORE)
