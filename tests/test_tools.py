"""What a tool's class says of itself."""

import json

import pytest
from pydantic import BaseModel

from sgl_conveyor.core import ConfigurationError, Grammar
from sgl_conveyor.describe import SANDBOX_MEMORY_BYTES, describe, is_async, snake_case
from sgl_conveyor.tools import Tool


class Numbers(BaseModel):
    values: list[float]


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
