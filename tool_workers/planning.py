"""The planning tool: a plan of tool calls, whose steps run while the plan is still written."""

from __future__ import annotations

import asyncio
import json
from difflib import get_close_matches
from typing import Any

from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.specs import ToolInfo
from sgl_conveyor.tools import Tool
from tool_workers._planning_step import GRAMMAR, Line, PlanError, Step, fill, parse_line

#: Steps of one plan.
MAX_STEPS = 200
#: Steps of one plan that run at once.
MAX_AT_ONCE = 16
#: Characters of the text that a step gives its tool.
MAX_INPUT_CHARS = 256 * 1024
#: Characters of all values in the result; what comes after is left out, and the result says so.
MAX_RESULT_CHARS = 1024 * 1024


class StepFailed(ConveyorError):
    """A step's tool gave an error; the message names the line and the error."""


class Planning(Tool):
    """Run a plan: lines like `$3 = compute_ratio($1, $2)`, each a call of a tool of this server.
    `$1` and `$2` are the results of other steps, wherever they stand. The result holds the value
    of every step.
    """

    # A step's tool commits in its own `finish`, which our `abort` cannot undo. So a step starts
    # while the plan is still written only if its tool is read_only, and so are those of all the
    # steps that it needs. The others start in our `finish`: the whole plan is good by then, and
    # everything that could start before has succeeded. They start in the plan's order (a step
    # after those that it needs, else as written), and one whose tool is not read_only waits until
    # all before it have succeeded: a failed plan has had exactly the effects before the failure.
    #
    # Errors are the same however the text is cut. A wrong line beats a step that fails, which is
    # reported at the end: of those that started early the first line, else the first in the
    # plan's order. A reference to a step that never comes is wrong only at the end.

    ebnf = GRAMMAR
    timeout_s = 120.0
    replayable = True

    def __init__(self) -> None:
        self._lines = 0
        # By the steps' numbers, in the order of their lines.
        self._steps: dict[int, Step] = {}
        self._arguments: dict[int, Any] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._values: dict[int, Any] = {}
        self._sizes: dict[int, int] = {}
        self._slots = asyncio.Semaphore(MAX_AT_ONCE)

    async def on_line(self, line: str) -> None:
        self._lines += 1
        step = parse_line(Line(self._lines, line))
        if step is None:
            return
        self._add(step)
        self._start_early()
        # What has started sends its calls before the next line is looked at.
        await asyncio.sleep(0)

    async def finish(self) -> dict[str, Any]:
        if not self._steps:
            raise PlanError("the plan has no steps: write lines like `$1 = tool($2, 3)`")
        for step in self._steps.values():
            for needed in step.needs:
                if needed not in self._steps:
                    raise step.line.wrong(f"there is no step ${needed} in the plan")
        try:
            await self._succeed([number for number in self._steps if number in self._tasks])
            await self._run_late()
            return self._result()
        finally:
            await self._cancel()

    async def abort(self, reason: str) -> None:
        await self._cancel()

    # --- the plan ---

    def _add(self, step: Step) -> None:
        """Take a step into the plan.

        Raises:
            PlanError: it cannot be run, or not in this plan.
        """
        wrong = step.line.wrong
        if step.number in self._steps:
            first = self._steps[step.number].line.number
            raise wrong(f"the step ${step.number} is there already, in line {first}")
        if len(self._steps) >= MAX_STEPS:
            raise wrong(f"a plan has at most {MAX_STEPS} steps")
        if step.tool == self.call.tool:
            raise wrong("a plan cannot be a step of a plan")
        if step.tool not in self.tools:
            meant = get_close_matches(step.tool, self.tools, 1)
            raise wrong(
                f"there is no tool {step.tool}" + (f", did you mean {meant[0]}?" if meant else "")
            )
        self._arguments[step.number] = step.bind(self.tools[step.tool])
        self._steps[step.number] = step
        circle = self._circle(step)
        if circle:
            raise wrong(f"the steps wait for each other ({circle})")

    def _circle(self, step: Step) -> str | None:
        """How a step needs itself; only a new step can close a circle."""
        came_from: dict[int, int] = {}
        waiting = [step.number]
        while waiting:
            number = waiting.pop()
            for needed in self._steps[number].needs:
                if needed == step.number:
                    path = [needed]
                    while number != step.number:
                        path.append(number)
                        number = came_from[number]
                    path.append(step.number)
                    return " needs ".join(f"${part}" for part in reversed(path))
                if needed in self._steps and needed not in came_from:
                    came_from[needed] = number
                    waiting.append(needed)
        return None

    def _tool(self, step: Step) -> ToolInfo:
        return self.tools[step.tool]

    # --- its steps ---

    def _start_early(self) -> None:
        """Start what may start before the plan is complete, and has all that it needs."""
        started = True
        while started:
            started = False
            for step in self._steps.values():
                able = self._tool(step).read_only and all(n in self._tasks for n in step.needs)
                if able and step.number not in self._tasks:
                    self._start(step)
                    started = True

    async def _run_late(self) -> None:
        """Run what had to wait for the plan's end.

        Raises:
            StepFailed: a step failed; those after it that are not read_only did not start.
        """
        late: list[int] = []
        waiting = [step for step in self._steps.values() if step.number not in self._tasks]
        while waiting:
            step = next(s for s in waiting if all(n in self._tasks for n in s.needs))
            if not self._tool(step).read_only:
                await self._succeed(late)
            self._start(step)
            late.append(step.number)
            waiting.remove(step)
        await self._succeed(late)

    def _start(self, step: Step) -> None:
        self._tasks[step.number] = asyncio.create_task(self._run(step))

    async def _succeed(self, numbers: list[int]) -> None:
        """Wait for steps; the first that failed by itself counts, in this order.

        Raises:
            StepFailed: it failed.
        """
        for number in numbers:
            try:
                await self._tasks[number]
            except _NeededStepFailed:
                continue

    async def _run(self, step: Step) -> None:
        for number in step.needs:
            try:
                await self._tasks[number]
            except (StepFailed, _NeededStepFailed):
                raise _NeededStepFailed from None
        async with self._slots:
            with self.span(f"${step.number} {step.tool}"):
                value = await self._value(step)
        self._values[step.number] = value
        self._sizes[step.number] = len(_json(value))

    async def _value(self, step: Step) -> Any:
        where = f"line {step.line.number}: ${step.number} {step.tool}"
        text = self._input(step, where)
        try:
            async with asyncio.timeout(self.timeout_s):
                result = await self.call_tool(step.tool, text)
        except TimeoutError:
            raise StepFailed(f"{where}: it took longer than {self.timeout_s:g} s") from None
        if result.error is not None:
            raise StepFailed(f"{where}: {result.error}")
        if result.aborted is not None:
            raise StepFailed(f"{where}: aborted: {result.aborted}")
        return result.value

    def _input(self, step: Step, where: str) -> str:
        # Looked at before they are put together: lists of lists of results grow without limit.
        if sum(self._sizes[number] for number in step.needs) <= MAX_INPUT_CHARS:
            arguments = fill(self._arguments[step.number], self._values)
            has_parameters = self._tool(step).parameters is not None
            is_text = isinstance(arguments, str) and not has_parameters
            return arguments if is_text else _json(arguments)
        raise StepFailed(f"{where}: its arguments have more than {MAX_INPUT_CHARS} characters")

    def _result(self) -> dict[str, Any]:
        room = MAX_RESULT_CHARS
        result: dict[str, Any] = {}
        for number in self._steps:
            size = self._sizes[number]
            fits = size <= room
            room -= size if fits else 0
            result[f"${number}"] = (
                self._values[number] if fits else f"[left out: {size} characters of JSON]"
            )
        return result

    async def _cancel(self) -> None:
        """Cancel what still runs, and wait until it is gone."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


class _NeededStepFailed(Exception):
    """A step that this one needs has failed; that one is reported."""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
