"""What a tool's class says of itself, and what `@tool` makes of a function."""

import json
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from sgl_conveyor import tools
from sgl_conveyor.describe import SANDBOX_MEMORY_BYTES, describe, info_of, is_async, snake_case
from sgl_conveyor.errors import ConfigurationError, ToolAbort
from sgl_conveyor.specs import Grammar, ToolInfo
from sgl_conveyor.testing import run_tool
from sgl_conveyor.tools import IncompleteResult, Tool
from sgl_conveyor.worker.loading import load_tool


class Numbers(BaseModel):
    values: list[float]


class Place(BaseModel):
    city: str
    country: str = "DE"


@tools.tool
def forecast(
    place: Place,
    days: Annotated[int, Field(ge=1, le=9, description="how many")] = 3,
    unit: Literal["c", "f"] = "c",
) -> dict[str, object]:
    """Foretell the weather.

    Not too far.
    """
    return {"place": f"{place.city} ({place.country})", "days": days, "unit": unit}


@tools.tool(name="double-it", timeout_s=2.5, read_only=True)
async def double(value: "int | str") -> int | str:
    """Double it."""
    return value * 2


def run_with(decorated, **arguments):
    """The result of a call with these arguments."""
    return run_tool(decorated, json.dumps(arguments)).result


def tool(**attributes):
    """A tool's class with these attributes."""
    return type("Probe", (Tool,), attributes)


def hook(self, *arguments):
    """A plain hook."""


async def async_hook(self, *arguments):
    """A hook that is a coroutine."""


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("SlowLines", "slow_lines"),
        ("Sum", "sum"),
        ("HTTPServer", "http_server"),
        ("SumHTTP", "sum_http"),
        ("Base64Decoder", "base64_decoder"),
        ("already_snake", "already_snake"),
        ("A", "a"),
    ],
)
def test_snake_case(name, snake):
    assert snake_case(name) == snake


def test_a_tool_is_called_as_its_class_in_snake_case():
    assert describe(type("SlowLines", (Tool,), {})).name == "slow_lines"


def test_a_tool_may_have_another_name():
    assert describe(tool(name="my-tool")).name == "my-tool"


@pytest.mark.parametrize("name", ["two words", "1st", "über", "a.b", "a/b", "x" * 65, "a\n", "-a"])
def test_a_name_that_is_no_identifier_is_refused(name):
    with pytest.raises(ConfigurationError, match="no identifier"):
        describe(tool(name=name))


# --- the description -------------------------------------------------------------------------


def test_a_bare_tool_has_the_documented_defaults():
    spec = describe(tool())
    assert (spec.limits.timeout_s, spec.limits.workers, spec.limits.queue) == (30.0, 1, 256)
    assert spec.limits.memory_bytes is None
    assert (spec.sandbox, spec.replayable, spec.hooks) == (False, False, frozenset())
    assert spec.grammar == Grammar()
    assert (spec.parameters, spec.description) == (None, "")


def test_the_description_says_where_the_class_is():
    from tests.tools.sums import SumLines

    assert describe(SumLines).source == "tests.tools.sums:SumLines"


def test_the_docstring_is_the_description():
    assert describe(tool(__doc__="Add.\n\n    All of them.\n    ")).description == (
        "Add.\n\nAll of them."
    )


def test_only_overridden_hooks_count():
    spec = describe(tool(on_line=hook, abort=async_hook))
    assert spec.hooks == {"on_line", "abort"}


def test_inherited_hooks_count():
    base = tool(on_text=hook)
    assert describe(type("Derived", (base,), {"finish": hook})).hooks == {"on_text", "finish"}


def test_attributes_are_carried_over():
    spec = describe(tool(timeout_s=2.5, workers=3, queue=7, replayable=True))
    assert (spec.limits.timeout_s, spec.limits.workers, spec.limits.queue) == (2.5, 3, 7)
    assert spec.replayable


# --- concurrency -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "concurrency"),
    [
        ({"on_line": async_hook, "finish": async_hook}, 64),
        ({"on_line": async_hook, "finish": hook}, 1),
        ({"finish": hook}, 1),
        ({}, 1),
        ({"finish": async_hook, "concurrency": 5}, 5),
        ({"finish": async_hook, "sandbox": True}, 1),
        ({"finish": async_hook, "sandbox": True, "concurrency": 5}, 1),
    ],
)
def test_concurrency(attributes, concurrency):
    assert describe(tool(**attributes)).limits.concurrency == concurrency


def test_plain_hooks_cannot_serve_several_calls_at_once():
    with pytest.raises(ConfigurationError, match="make them coroutines"):
        describe(tool(finish=hook, concurrency=5))


@pytest.mark.parametrize(
    ("hooks", "asynchronous"),
    [({"finish": hook}, False), ({"open": async_hook, "finish": hook}, True), ({}, False)],
)
def test_a_tool_is_async_when_one_hook_is(hooks, asynchronous):
    assert is_async(tool(**hooks)) is asynchronous


def test_a_sandboxed_worker_has_a_memory_limit():
    assert describe(tool(sandbox=True)).limits.memory_bytes == SANDBOX_MEMORY_BYTES


# --- grammars --------------------------------------------------------------------------------


def test_args_give_the_schema_and_the_grammar():
    spec = describe(tool(Args=Numbers))
    assert json.loads(spec.parameters) == Numbers.model_json_schema()
    assert spec.grammar == Grammar(json_schema=spec.parameters)


@pytest.mark.parametrize("kind", ["regex", "ebnf"])
def test_a_grammar_of_the_tool_beats_its_args(kind):
    spec = describe(tool(Args=Numbers, **{kind: "[0-9]+"}))
    assert spec.grammar == Grammar(**{kind: "[0-9]+"})
    assert spec.parameters is not None


@pytest.mark.parametrize(("stop", "stops"), [("```", ["```"]), (["a", "b"], ["a", "b"])])
def test_one_stop_is_a_list_of_one(stop, stops):
    assert describe(tool(stop=stop)).grammar == Grammar(stop=stops)


# --- what cannot be served -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attributes", "says"),
    [
        ({"timeout_s": 0}, "timeout_s = 0"),
        ({"timeout_s": -1.0}, "timeout_s = -1.0"),
        ({"timeout_s": float("nan")}, "timeout_s = nan"),
        ({"workers": 0}, "workers = 0"),
        ({"queue": 0}, "queue = 0"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout_s": "30"}, "timeout_s"),
        ({"workers": None}, "workers"),
        ({"regex": "a", "ebnf": "b"}, "regex and ebnf"),
        ({"Args": dict}, "Args"),
    ],
)
def test_a_bad_attribute_is_refused_and_named_with_its_tool(attributes, says):
    with pytest.raises(ConfigurationError) as raised:
        describe(tool(**attributes))
    assert says in str(raised.value)
    assert "'probe'" in str(raised.value)


# --- what happens to a call ------------------------------------------------------------------


def test_read_only_implies_replayable():
    assert not describe(tool(replayable=True)).read_only
    spec = describe(tool(read_only=True))
    assert (spec.read_only, spec.replayable) == (True, True)
    assert (describe(tool()).read_only, describe(tool()).replayable) == (False, False)


@pytest.mark.parametrize("seconds", [None, 0.5, 60])
def test_an_idle_worker_may_end(seconds):
    assert describe(tool(idle_s=seconds)).limits.idle_s == seconds


@pytest.mark.parametrize("seconds", [0, -1.0, "60"])
def test_a_bad_idle_time_is_refused(seconds):
    with pytest.raises(ConfigurationError, match="idle_s"):
        describe(tool(idle_s=seconds))


def test_what_other_tools_may_know_of_a_tool():
    spec = describe(tool(__doc__="Add.", Args=Numbers, read_only=True))
    assert info_of(spec) == ToolInfo("probe", "Add.", spec.parameters, True)
    assert info_of(describe(tool())) == ToolInfo("probe", "", None, False)


# --- @tool -----------------------------------------------------------------------------------


def test_a_function_gives_name_and_description():
    spec = describe(forecast)
    assert (spec.name, spec.description) == ("forecast", "Foretell the weather.\n\nNot too far.")
    assert spec.hooks == {"finish"}


def test_its_type_hints_give_the_schema():
    schema = json.loads(describe(forecast).parameters)
    assert schema["required"] == ["place"]
    assert schema["properties"]["place"] == {"$ref": "#/$defs/Place"}
    assert schema["$defs"]["Place"]["required"] == ["city"]
    days, unit = schema["properties"]["days"], schema["properties"]["unit"]
    assert (days["type"], days["description"], days["default"]) == ("integer", "how many", 3)
    assert (days["minimum"], days["maximum"]) == (1, 9)
    assert (unit["enum"], unit["default"]) == (["c", "f"], "c")
    assert describe(forecast).grammar == Grammar(json_schema=describe(forecast).parameters)


def test_it_gets_checked_arguments_and_its_defaults():
    assert run_with(forecast, place={"city": "Ulm"}, unit="f").value == {
        "place": "Ulm (DE)",
        "days": 3,
        "unit": "f",
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"place": {}}, "place.city"),
        ({"place": {"city": "Ulm"}, "days": 10}, "days"),
        ({"place": {"city": "Ulm"}, "unit": "k"}, "unit"),
        ({}, "place"),
    ],
)
def test_arguments_that_do_not_fit_never_reach_it(arguments, says):
    error = run_with(forecast, **arguments).error
    assert error.type == "InvalidArguments"
    assert says in error.message


def test_an_async_function_serves_many_calls_at_once():
    assert run_with(double, value="ab").value == "abab"
    assert describe(double).limits.concurrency == 64
    assert describe(forecast).limits.concurrency == 1


def test_attributes_are_given_to_the_decorator():
    spec = describe(double)
    assert (spec.name, spec.limits.timeout_s, spec.read_only) == ("double-it", 2.5, True)


def test_a_function_without_parameters_takes_an_empty_object():
    @tools.tool
    def answer():
        return 42

    assert run_with(answer).value == 42
    assert describe(answer).description == ""


def test_a_function_may_end_as_hooks_do():
    @tools.tool
    def end(how: str):
        if how == "abort":
            raise ToolAbort("no more")
        if how == "fail":
            return IncompleteResult([1], "Half", "the other half is missing")
        raise LookupError("nothing there")

    assert run_with(end, how="abort").aborted == "no more"
    failed = run_with(end, how="fail")
    assert (failed.value, str(failed.error)) == ([1], "Half: the other half is missing")
    assert str(run_with(end, how="raise")) == "Error: LookupError: nothing there"


def test_a_worker_finds_it_where_it_was_defined():
    assert describe(forecast).source == "tests.test_tools:forecast"
    assert load_tool("tests.test_tools:double") is double


def test_the_function_itself_can_still_be_called():
    assert forecast.function(Place(city="Ulm"))["days"] == 3


def untyped(value):
    """A parameter without a type."""


def many(*values: int):
    """Parameters without names."""


def named(**values: int):
    """Parameters with any names."""


def positional(value: int, /):
    """A parameter that cannot be named."""


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (untyped, "give the parameter value a type"),
        (many, "the parameter values cannot be given by name"),
        (named, "the parameter values cannot be given by name"),
        (positional, "the parameter value cannot be given by name"),
    ],
)
def test_a_signature_that_cannot_be_served_is_refused_and_named(function, says):
    with pytest.raises(ConfigurationError) as raised:
        tools.tool(function)
    assert says in str(raised.value)
    assert f"tests.test_tools:{function.__name__}" in str(raised.value)


def test_an_attribute_that_no_tool_has_is_refused():
    with pytest.raises(ConfigurationError, match="no attribute timeout, retries"):
        tools.tool(timeout=5, retries=3)(lambda: None)
