"""How SGLang's interpreter and tracer treat our two expressions.

Both dispatch on the type of an expression in one method each. We wrap these methods, and the way of
an expression to them: what is ours is handled here, everything else goes the way it went. (A
subclass of `StreamExecutor` would have to be put in the place of a module global that two functions
look up.)
"""

from __future__ import annotations

import contextlib
import functools
import queue
from collections.abc import Callable
from typing import Any

import httpx
from sglang.lang.interpreter import StreamExecutor
from sglang.lang.ir import SglExpr, SglVariable
from sglang.lang.tracer import StopTracing, TracerProgramState

from sgl_conveyor.core import ToolError
from sgl_conveyor.errors import CallRefused, ConveyorError
from sgl_conveyor.frontend.appended import (
    RESULT,
    AppendedRegion,
    AppendedResult,
    appended,
    end_all,
)
from sgl_conveyor.frontend.endpoint import (
    ConveyorEndpoint,
    OpenedCall,
    connection_error,
    refusal_error,
)
from sgl_conveyor.frontend.expressions import SglToolRegion, SglToolResult, region_parameters


def install() -> None:
    """Teach SGLang's interpreter and tracer our expressions, once."""
    if hasattr(StreamExecutor._execute, "__wrapped__"):
        return
    _wrap(StreamExecutor, "submit", _submit)
    _wrap(StreamExecutor, "_init_var_event", _init_var_event)
    _wrap(StreamExecutor, "_execute", _execute)
    _wrap(StreamExecutor, "_thread_worker_func", _work)
    _wrap(TracerProgramState, "_execute", _trace)


def _wrap(owner: Any, name: str, ours: Callable[..., Any]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapper(self: Any, *args: Any) -> Any:
        return ours(original, self, *args)

    setattr(owner, name, wrapper)


def _submit(original: Callable[..., Any], executor: StreamExecutor, expr: Any) -> None:
    taken = appended(expr, executor)
    try:
        original(executor, taken)
    except Exception:
        # Without a thread it runs here; what stood behind the failure never will.
        end_all(taken, executor)
        raise
    if executor.use_thread and executor.is_finished:
        _drop_what_waits(executor)


def _work(original: Callable[..., Any], executor: StreamExecutor) -> None:
    """The program's thread; SGLang's own leaves waiting whoever appends as it fails."""
    try:
        original(executor)
    finally:
        executor.is_finished = True
        _drop_what_waits(executor)
        if executor.stream_text_event:
            executor.stream_text_event.set()


def _drop_what_waits(executor: StreamExecutor) -> None:
    """What was appended to a program that has failed, or ended, never runs: let nobody wait."""
    while True:
        try:
            expr = executor.queue.get_nowait()
        except queue.Empty:
            return
        executor.queue.task_done()
        if expr is None:
            continue
        if executor.error_ is None:
            executor.error_ = ConveyorError(
                f"{expr!r} was appended to a program that had ended: append it inside the function"
            )
        events = [*executor.variable_event.values(), *(executor.stream_var_event or {}).values()]
        for event in events:
            event.set()


def _init_var_event(original: Callable[..., Any], executor: StreamExecutor, expr: SglExpr) -> None:
    if isinstance(expr, (AppendedRegion, AppendedResult)):
        expr.declare(executor)
    else:
        original(executor, expr)


def _execute(original: Callable[..., Any], executor: StreamExecutor, expr: Any) -> None:
    try:
        if isinstance(expr, AppendedRegion):
            _execute_region(executor, expr)
        elif isinstance(expr, AppendedResult):
            executor._execute_fill(expr.text())
        else:
            original(executor, expr)
    except Exception as error:
        # SGLang says why only after it has woken those who wait, and who will ask.
        executor.error_ = error
        raise


def _execute_region(executor: StreamExecutor, region: AppendedRegion) -> None:
    expression = region.region
    try:
        endpoint = executor.backend
        if not isinstance(endpoint, ConveyorEndpoint):
            raise CallRefused(
                400,
                f"{region!r} needs a ConveyorEndpoint, not a {type(endpoint).__name__}: call "
                "sgl.set_default_backend(ConveyorEndpoint(url))",
            )
        opened = endpoint.open_call(expression.tool, expression.name, partial=expression.partial)
        # A region that failed has an outcome on the server, which says why.
        region.will_ask(endpoint, opened)
        _decode(executor, endpoint, region, opened)
    except (CallRefused, httpx.HTTPError) as error:
        region.refuse(_error_of(region, error))
    except Exception as error:
        region.refuse(_error_of(region, error))
        raise ConveyorError(f"{region!r}: {type(error).__name__}: {error}") from error
    finally:
        region.end(executor)


def _decode(
    executor: StreamExecutor,
    endpoint: ConveyorEndpoint,
    region: AppendedRegion,
    opened: OpenedCall,
) -> None:
    defaults = executor.default_sampling_para.to_srt_kwargs()
    stop = list(executor.chat_template.stop_str or [])
    own = region_parameters(region.region, opened.grammar, stop)
    free = {
        k: v
        for k, v in defaults.items()
        if k not in ("regex", "json_schema", "n", "ignore_eos", "stop_regex")
    }
    conveyor: dict[str, Any] = {"call": opened.call}
    if region.region.any_whitespace:
        conveyor["any_whitespace"] = True
    parameters = {**free, **own, "custom_params": {"conveyor": conveyor}}
    try:
        if executor.stream:
            pieces = endpoint.stream_region(executor, parameters)
        else:
            pieces = iter([endpoint.decode_region(executor, parameters)])
        for text, meta_info in pieces:
            region.append(executor, text, {**meta_info, "call": opened.call})
    except Exception as error:
        region.fail(_error_of(region, error))
        with contextlib.suppress(httpx.HTTPError):
            endpoint.delete_call(opened.call)
        if not isinstance(error, (CallRefused, httpx.HTTPError)):
            raise


def _error_of(region: AppendedRegion, error: Exception) -> ToolError:
    if isinstance(error, CallRefused):
        return refusal_error(error)
    if isinstance(error, httpx.HTTPError):
        return connection_error(error)
    return ToolError(type(error).__name__, f"{region!r}: {error}")


def _trace(original: Callable[..., Any], tracer: TracerProgramState, expr: Any) -> Any:
    if isinstance(expr, SglToolRegion):
        tracer.variables[expr.name] = SglVariable(expr.name, source=expr)
        tracer.variables[expr.name + RESULT] = SglVariable(expr.name + RESULT, source=expr)
    elif not isinstance(expr, SglToolResult):
        return original(tracer, expr)
    elif tracer.only_trace_prefix:
        raise StopTracing
    expr.pid = tracer.pid
    tracer._append_node(expr)
    return tracer
