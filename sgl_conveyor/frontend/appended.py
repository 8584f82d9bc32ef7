"""What a program has appended: each region with a text and a result of its own.

One expression may be appended many times (in a loop, by the programs of a batch), and one name may
have many regions. What belongs to one of them rides on what was appended, never on its name.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

from sglang.lang.interpreter import StreamExecutor
from sglang.lang.ir import SglExpr, SglExprList

from sgl_conveyor.core import Outcome, ToolError, ToolResult
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.frontend.endpoint import ConveyorEndpoint, OpenedCall
from sgl_conveyor.frontend.expressions import SglToolRegion, SglToolResult

RESULT = ".result"
#: The reason that the server gives when we have deleted the call ourselves.
_DELETED = "the client deleted the call"
#: Seconds between two looks at whether the program that should set an event still runs.
_LOOK_INTERVAL_S = 0.1
#: Seconds that a result may come later than the tool's own timeout.
_RESULT_GRACE_S = 10.0


class ProgramEvent(threading.Event):
    """An event that counts as set when the program that should set it has ended.

    Args:
        executor: that program.
    """

    def __init__(self, executor: StreamExecutor) -> None:
        super().__init__()
        self._executor = weakref.ref(executor)

    def is_set(self) -> bool:
        executor = self._executor()
        return super().is_set() or executor is None or executor.is_finished

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None:
            return super().wait(timeout)
        while not super().wait(_LOOK_INTERVAL_S):
            if self.is_set():
                break
        return True


class AppendedRegion(SglExpr):  # type: ignore[misc]
    """A tool region, once appended to a program.

    Args:
        region: the expression.
        executor: the program that it was appended to.
    """

    def __init__(self, region: SglToolRegion, executor: StreamExecutor) -> None:
        super().__init__()
        self.region = region
        self.result = ToolResult(self._outcome)
        self._text = ""
        self._ended = ProgramEvent(executor)
        self._executor = weakref.ref(executor)
        self._ask: Callable[[], Outcome] | None = None

    def __repr__(self) -> str:
        return repr(self.region)

    def declare(self, executor: StreamExecutor) -> None:
        """Make its text and its result the variables of its name, in place of earlier ones."""
        name = self.region.name
        executor.variable_event[name] = self._ended
        # Whoever iterates over an earlier region of this name would never see another event.
        if executor.stream and not isinstance(executor.stream_var_event.get(name), ProgramEvent):
            executor.stream_var_event[name] = ProgramEvent(executor)
        executor.meta_info.pop(name, None)
        executor.variables[name] = self._text
        executor.variables[name + RESULT] = self.result

    def append(self, executor: StreamExecutor, text: str, meta_info: dict[str, Any]) -> None:
        """Add decoded text."""
        executor.text_ += text
        self._text += text
        self._show(executor, meta_info)
        if executor.stream:
            executor.stream_text_event.set()

    def will_ask(self, endpoint: ConveyorEndpoint, opened: OpenedCall) -> None:
        """Its call is on the server: whoever reads the result first asks there."""
        limit = opened.timeout_s + _RESULT_GRACE_S
        self._ask = functools.partial(endpoint.read_call, opened.call, limit)

    def refuse(self, error: ToolError) -> None:
        """It has no call: this is why."""
        self._ask = lambda: Outcome(error=error)

    def fail(self, error: ToolError) -> None:
        """Its decoding failed: this is why, unless the tool had ended the call before."""
        ask = self._ask
        assert ask is not None, "a region that has no call is refused"

        def ask_then_decide() -> Outcome:
            outcome = ask()
            if outcome.error is None and outcome.aborted == _DELETED:
                return Outcome(error=error, timings=outcome.timings)
            return outcome

        self._ask = ask_then_decide

    def end(self, executor: StreamExecutor) -> None:
        """No more text comes; nobody waits for it any longer."""
        self._show(executor, None)
        self._ended.set()
        if executor.stream:
            executor.stream_var_event[self.region.name].set()

    def _show(self, executor: StreamExecutor, meta_info: dict[str, Any] | None) -> None:
        name = self.region.name
        if executor.variable_event.get(name) is not self._ended:
            return  # a later expression has the name now
        executor.variables[name] = self._text
        if meta_info is not None:
            executor.meta_info[name] = meta_info
        if executor.stream:
            executor.stream_var_event[name].set()

    def _outcome(self) -> Outcome:
        self._ended.wait()
        if self._ask is not None:
            return self._ask()
        why = getattr(self._executor(), "error_", None) or "the program ended before it"
        message = f"{self!r} was not decoded: {why}"
        return Outcome(error=ToolError("RegionNotRun", message))


class AppendedResult(SglExpr):  # type: ignore[misc]
    """The text of a result, once appended: that of the last region of its name before it."""

    def __init__(self, expression: SglToolResult) -> None:
        super().__init__()
        self.expression = expression
        self._result: ToolResult | None = None
        self._regions: list[str] = []

    def __repr__(self) -> str:
        return repr(self.expression)

    def declare(self, executor: StreamExecutor) -> None:
        """Find the result now: the name may have another one when it is read."""
        results = {
            name.removesuffix(RESULT): value
            for name, value in list(executor.variables.items())
            if name.endswith(RESULT) and isinstance(value, ToolResult)
        }
        self._result = results.get(self.expression.name)
        self._regions = list(results)

    def text(self) -> str:
        """Wait for the result.

        Raises:
            ConveyorError: the program has no such region.
        """
        if self._result is not None:
            return str(self._result)
        regions = ", ".join(map(repr, self._regions)) or "none"
        raise ConveyorError(
            f"{self!r}: the program has no tool region of this name before it (its regions: "
            f"{regions}): append tool_region({self.expression.name!r}, ...) first, or name another"
        )


def appended(expr: Any, executor: StreamExecutor) -> Any:
    """An expression as a program takes it: each of ours in it becomes one of its own."""
    if isinstance(expr, SglToolRegion):
        return AppendedRegion(expr, executor)
    if isinstance(expr, SglToolResult):
        return AppendedResult(expr)
    if isinstance(expr, SglExprList) and _holds_ours(expr):
        return SglExprList([appended(one, executor) for one in expr.expr_list])
    return expr


def end_all(expr: Any, executor: StreamExecutor) -> None:
    """Nothing of an expression runs any more: end its regions."""
    if isinstance(expr, AppendedRegion):
        expr.end(executor)
    elif isinstance(expr, SglExprList):
        for one in expr.expr_list:
            end_all(one, executor)


def _holds_ours(expr: Any) -> bool:
    if isinstance(expr, SglExprList):
        return any(map(_holds_ours, expr.expr_list))
    return isinstance(expr, (SglToolRegion, SglToolResult))
