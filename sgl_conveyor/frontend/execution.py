"""How SGLang's interpreter and tracer treat our two expressions.

Both dispatch on the type of an expression in one method each. We wrap these methods: what is
ours is handled here, everything else goes the way it went. (A subclass of `StreamExecutor` would
have to be put in the place of a module global that two functions look up.)
"""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import httpx
from sglang.lang.interpreter import StreamExecutor
from sglang.lang.ir import SglExpr, SglVariable
from sglang.lang.tracer import StopTracing, TracerProgramState

from sgl_conveyor.core import Outcome, ToolError, ToolResult
from sgl_conveyor.errors import CallRefused, ConveyorError
from sgl_conveyor.frontend.endpoint import (
    ConveyorEndpoint,
    OpenedCall,
    connection_error,
    refusal_error,
)
from sgl_conveyor.frontend.expressions import SglToolRegion, SglToolResult, region_parameters

RESULT = ".result"
#: The reason that the server gives when we have deleted the call ourselves.
_DELETED = "the client deleted the call"
#: Seconds between two looks at whether the program that should fill a variable still runs.
_LOOK_INTERVAL_S = 0.1
#: Seconds that a result may come later than the tool's own timeout.
_RESULT_GRACE_S = 10.0


class _RegionText(threading.Event):
    """The event of a region's text; waiting ends when its program has ended without it."""

    def __init__(self, executor: StreamExecutor) -> None:
        super().__init__()
        self._executor = weakref.ref(executor)

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_LOOK_INTERVAL_S):
            executor = self._executor()
            if executor is None or executor.is_finished:
                self.set()
        return True


class _RegionOutcome:
    """What `ToolResult` waits with: for the region, then for the server's answer.

    Args:
        text: the event of the region's text.
        executor: the program that decodes it.
    """

    def __init__(self, text: _RegionText, executor: StreamExecutor) -> None:
        self._text = text
        self._executor = weakref.ref(executor)
        self._lock = threading.Lock()
        self._outcome: Outcome | None = None
        self._read: Callable[[], Outcome] | None = None

    def will_read(self, endpoint: ConveyorEndpoint, opened: OpenedCall) -> None:
        """The region is decoded: whoever reads first asks the server."""
        limit = opened.timeout_s + _RESULT_GRACE_S
        self._read = functools.partial(endpoint.read_call, opened.call, limit)

    def settle(self, outcome: Outcome) -> None:
        """The outcome is known without asking."""
        self._outcome = outcome

    def settle_unless_aborted(self, error: ToolError) -> None:
        """Decoding failed: with this error, unless the tool had ended the call before."""
        read = self._read
        assert read is not None

        def read_then_decide() -> Outcome:
            outcome = read()
            if outcome.error is None and outcome.aborted == _DELETED:
                return Outcome(error=error, timings=outcome.timings)
            return outcome

        self._read = read_then_decide

    def __call__(self) -> Outcome:
        self._text.wait()
        with self._lock:
            if self._outcome is None:
                self._outcome = self._read() if self._read is not None else self._never_ran()
            return self._outcome

    def _never_ran(self) -> Outcome:
        executor = self._executor()
        why = getattr(executor, "error_", None) or "the program ended before it"
        return Outcome(error=ToolError("RegionNotRun", f"the region was not decoded: {why}"))


def install() -> None:
    """Teach SGLang's interpreter and tracer our expressions, once."""
    if hasattr(StreamExecutor._execute, "__wrapped__"):
        return
    _wrap(StreamExecutor, "_execute", _execute)
    _wrap(StreamExecutor, "_init_var_event", _init_var_event)
    _wrap(TracerProgramState, "_execute", _trace)


def _wrap(owner: Any, name: str, ours: Callable[[Any, Any], bool]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(self: Any, expr: Any) -> Any:
        return self if ours(self, expr) else original(self, expr)

    setattr(owner, name, wrapper)


def _init_var_event(executor: StreamExecutor, expr: SglExpr) -> bool:
    """Declare a region's two variables; the result can be held before the region is decoded."""
    if not isinstance(expr, SglToolRegion):
        return False
    text = _RegionText(executor)
    executor.variable_event[expr.name] = text
    if executor.stream:
        executor.stream_var_event[expr.name] = threading.Event()
    executor.variables.setdefault(expr.name, "")
    executor.variables[expr.name + RESULT] = ToolResult(_RegionOutcome(text, executor))
    return True


def _execute(executor: StreamExecutor, expr: SglExpr) -> bool:
    if isinstance(expr, SglToolRegion):
        _execute_region(executor, expr)
        return True
    if isinstance(expr, SglToolResult):
        executor._execute_fill(str(_result_of(executor, expr.name)))
        return True
    return False


def _execute_region(executor: StreamExecutor, region: SglToolRegion) -> None:
    outcome = _result_of(executor, region.name)._outcome
    assert isinstance(outcome, _RegionOutcome)
    executor.variables[region.name] = ""
    try:
        endpoint = executor.backend
        if not isinstance(endpoint, ConveyorEndpoint):
            raise CallRefused(
                400,
                f"a tool region needs a ConveyorEndpoint, not a {type(endpoint).__name__}",
            )
        opened = endpoint.open_call(region.tool, region.name, partial=region.partial)
    except CallRefused as refused:
        outcome.settle(Outcome(error=refusal_error(refused)))
    except httpx.HTTPError as error:
        outcome.settle(Outcome(error=connection_error(error)))
    else:
        # A region that failed has an outcome on the server, which says why.
        outcome.will_read(endpoint, opened)
        _decode(executor, endpoint, region, opened, outcome)
    finally:
        executor.variable_event[region.name].set()
        if executor.stream:
            executor.stream_var_event[region.name].set()


def _decode(
    executor: StreamExecutor,
    endpoint: ConveyorEndpoint,
    region: SglToolRegion,
    opened: OpenedCall,
    outcome: _RegionOutcome,
) -> None:
    defaults = executor.default_sampling_para.to_srt_kwargs()
    stop = list(executor.chat_template.stop_str or [])
    own = region_parameters(region, opened.grammar, stop)
    free = {
        k: v
        for k, v in defaults.items()
        if k not in ("regex", "json_schema", "n", "ignore_eos", "stop_regex")
    }
    parameters = {**free, **own}
    try:
        if not executor.stream:
            text, meta_info = endpoint.decode_region(executor, opened, parameters)
            _append(executor, region.name, text, {**meta_info, "call": opened.call})
            return
        executor.stream_var_event[region.name].set()
        for piece, meta_info in endpoint.stream_region(executor, opened, parameters):
            _append(executor, region.name, piece, {**meta_info, "call": opened.call})
            executor.stream_var_event[region.name].set()
            executor.stream_text_event.set()
    except (CallRefused, httpx.HTTPError) as error:
        outcome.settle_unless_aborted(
            refusal_error(error) if isinstance(error, CallRefused) else connection_error(error)
        )
        with contextlib.suppress(httpx.HTTPError):
            endpoint.delete_call(opened.call)


def _append(executor: StreamExecutor, name: str, text: str, meta_info: dict[str, Any]) -> None:
    executor.text_ += text
    executor.variables[name] += text
    executor.meta_info[name] = meta_info


def _result_of(executor: StreamExecutor, name: str) -> ToolResult:
    result = executor.variables.get(name + RESULT)
    if not isinstance(result, ToolResult):
        raise ConveyorError(
            f"tool_result({name!r}): the program has no tool region of this name before it"
        )
    return result


def _trace(tracer: TracerProgramState, expr: SglExpr) -> bool:
    if isinstance(expr, SglToolRegion):
        tracer.variables[expr.name] = SglVariable(expr.name, source=expr)
        tracer.variables[expr.name + RESULT] = SglVariable(expr.name + RESULT, source=expr)
        expr.pid = tracer.pid
        tracer._append_node(expr)
        return True
    if isinstance(expr, SglToolResult):
        if tracer.only_trace_prefix:
            raise StopTracing
        expr.pid = tracer.pid
        tracer._append_node(expr)
        return True
    return False
