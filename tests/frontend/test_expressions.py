"""The two expressions, and the sampling parameters that a region comes to."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from xgrammar import Grammar as CompiledGrammar
from xgrammar.testing import _is_grammar_accept_string as admits

from sgl_conveyor.frontend.expressions import (
    literal_grammar,
    region_parameters,
    tool_region,
    tool_result,
)
from sgl_conveyor.specs import Grammar
from tests.support import quick

TEMPLATE_STOP = ["<|im_end|>"]
NO_OFFER = Grammar()


def region(**options):
    return tool_region("code", tool="python", **options)


def parameters(offered=NO_OFFER, **options):
    """How SGLang decodes such a region."""
    return region_parameters(region(**options), offered, TEMPLATE_STOP)


# --- tool_region -----------------------------------------------------------------------------


def test_a_region_holds_what_it_was_given():
    made = region(max_tokens=7, regex="a+", stop="b", temperature=0.5, partial=False)
    assert (made.name, made.tool, made.max_tokens) == ("code", "python", 7)
    assert made.grammar == Grammar(regex="a+", stop=["b"])
    assert (made.literal, made.temperature, made.partial) == (False, 0.5, False)


def test_a_region_is_partial_and_free_by_default():
    made = region()
    assert (made.partial, made.literal, made.temperature) == (True, False, None)
    assert made.grammar == Grammar()


@pytest.mark.parametrize(
    "grammars",
    [
        {"literal": "a", "regex": "a"},
        {"regex": "a", "ebnf": 'root ::= "a"'},
        {"ebnf": 'root ::= "a"', "json_schema": {}},
        {"literal": "a", "regex": "a", "json_schema": "{}"},
    ],
    ids=lambda grammars: "-".join(grammars),
)
def test_two_grammars_are_refused_by_their_names(grammars):
    with pytest.raises(ValueError, match=" and ".join(grammars)) as raised:
        region(**grammars)
    assert "'code'" in str(raised.value)


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_a_limit_that_admits_no_token_is_refused(max_tokens):
    with pytest.raises(ValueError, match=f"max_tokens = {max_tokens}"):
        region(max_tokens=max_tokens)


@pytest.mark.parametrize("stop", ["", [""], ["end", ""]], ids=repr)
def test_an_empty_stop_is_refused(stop):
    with pytest.raises(ValueError, match=r"tool_region\('code', tool='python'\) has an empty text"):
        region(stop=stop)


def test_a_tool_must_be_named():
    with pytest.raises(TypeError):
        tool_region("code")


def test_a_result_names_its_region():
    assert tool_result("code").name == "code"
    assert repr(tool_result("code")) == "tool_result('code')"
    assert repr(region()) == "tool_region('code', tool='python')"


# --- a literal -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "grammar"),
    [
        ("x = 1", 'root ::= "x = 1"'),
        ('say "hi"', r'root ::= "say \"hi\""'),
        ("a\nb\r\tc", r'root ::= "a\nb\r\tc"'),
        ("a\\nb", r'root ::= "a\\nb"'),
        ("é你🎉", 'root ::= "é你🎉"'),
    ],
)
def test_a_literal_grammar_escapes_what_ebnf_would_read(text, grammar):
    assert literal_grammar(text) == grammar


@pytest.mark.parametrize("text", ["", "lone surrogate: \ud800"])
def test_what_no_model_can_write_is_no_literal(text):
    with pytest.raises(ValueError, match="literal"):
        region(literal=text)


@quick
@given(
    st.text(
        st.sampled_from("ab\\\"'`\n\r\t\x00\x01\x1f\x7f\x85\u2028 é你🎉[](){}:=|*+?#nxu0"),
        min_size=1,
    )
    | st.text(st.characters(codec="utf-8"), min_size=1)
)
@example("\x010")
def test_a_literal_grammar_admits_its_text_and_no_other(text):
    grammar = CompiledGrammar.from_ebnf(literal_grammar(text))
    assert admits(grammar, text)
    assert not admits(grammar, text + "a")
    assert not admits(grammar, text[:-1])
    assert not admits(grammar, chr(ord(text[0]) ^ 1) + text[1:])


def test_a_literal_is_decoded_at_temperature_0_without_stops():
    offered = Grammar(regex="b", stop=["```"])
    assert parameters(offered, literal="a```", max_tokens=9) == {
        "max_new_tokens": 9,
        "stop": [],
        "ebnf": literal_grammar("a```"),
        "temperature": 0.0,
    }


def test_a_literal_takes_the_stop_and_the_temperature_that_the_region_gives():
    own = parameters(literal="a", stop="b", temperature=0.5)
    assert (own["stop"], own["temperature"]) == (["b"], 0.5)


# --- what beats what -------------------------------------------------------------------------

GRAMMARS = {"regex": "a+", "ebnf": 'root ::= "a"', "json_schema": '{"type": "object"}'}
each_grammar = pytest.mark.parametrize("kind", GRAMMARS)


def grammars_in(found):
    return {kind: found[kind] for kind in GRAMMARS if kind in found}


@each_grammar
@pytest.mark.parametrize("offered", GRAMMARS)
def test_the_regions_grammar_beats_the_tools(kind, offered):
    found = parameters(Grammar(**{offered: "another"}), **{kind: GRAMMARS[kind]})
    assert grammars_in(found) == {kind: GRAMMARS[kind]}


@each_grammar
def test_the_tools_grammar_holds_where_the_region_gives_none(kind):
    found = parameters(Grammar(**{kind: GRAMMARS[kind]}))
    assert grammars_in(found) == {kind: GRAMMARS[kind]}


@each_grammar
def test_a_grammar_needs_no_stop_of_the_template(kind):
    assert parameters(**{kind: GRAMMARS[kind]})["stop"] == []
    assert parameters(Grammar(**{kind: GRAMMARS[kind]}))["stop"] == []


def test_a_schema_may_be_a_dict():
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    assert json.loads(parameters(json_schema=schema)["json_schema"]) == schema


def test_free_text_ends_with_the_templates_turn():
    assert parameters() == {"max_new_tokens": 256, "stop": TEMPLATE_STOP}


def test_free_text_has_the_tools_stops_and_the_templates():
    assert parameters(Grammar(stop=["```"]))["stop"] == ["```", *TEMPLATE_STOP]


def test_a_stop_is_not_given_twice():
    assert parameters(stop=[*TEMPLATE_STOP, "b"])["stop"] == [*TEMPLATE_STOP, "b"]


def test_the_regions_stop_beats_the_tools():
    assert parameters(Grammar(stop=["```"]), stop="END")["stop"] == ["END", *TEMPLATE_STOP]
    assert parameters(Grammar(stop=["```"]), stop=[])["stop"] == TEMPLATE_STOP


def test_the_regions_stop_leaves_the_tools_grammar():
    found = parameters(Grammar(regex="a+", stop=["```"]), stop="END")
    assert (found["regex"], found["stop"]) == ("a+", ["END"])


def test_the_template_is_not_changed():
    template = ["<|im_end|>"]
    region_parameters(region(stop="a"), NO_OFFER, template)["stop"].append("b")
    assert template == ["<|im_end|>"]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_a_temperature_is_passed_on(temperature):
    assert parameters(temperature=temperature)["temperature"] == temperature


def test_without_a_temperature_the_programs_holds():
    assert "temperature" not in parameters()
