"""Half of a surrogate pair in arguments: an error that names its place, whatever the pieces."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.testing import every_cut, pieces
from tests.support import cut, cut_points, quick
from tests.units.splitting import arguments_of, inside


@pytest.mark.parametrize(
    ("text", "before", "message"),
    [
        (r'{"a": 1, "b": "\ud83e"}', [("a", 1)], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"a": 1, "b": "x\uD83Ex"}', [("a", 1)], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"a": 1, "b": "\udd17", "c": 2}', [("a", 1)], r"b: half of a surrogate pair (\udd17)"),
        (r'{"b": "\udd17\ud83e"}', [], r"b: half of a surrogate pair (\udd17)"),
        (r'{"b": "\ud83e\ud83e\udd17"}', [], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"b": "\ud83e\udd17\udd17"}', [], r"b: half of a surrogate pair (\udd17)"),
        (r'{"b": "\ud83e\u0041"}', [], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"b": "\ud83e\n"}', [], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"b": "\ud83e \udd17"}', [], r"b: half of a surrogate pair (\ud83e)"),
        (r'{"b": "\\\\\ud83e"}', [], r"b: half of a surrogate pair (\ud83e)"),
        (
            r'{"o": [1, {"n": "\ud83e"}]}',
            [("o[0]", 1)],
            r"o[1].n: half of a surrogate pair (\ud83e)",
        ),
        (r'{"o": [1, "\ud83e"]}', [("o[0]", 1)], r"o[1]: half of a surrogate pair (\ud83e)"),
        (r'{"a": 1, "\ud83e": 2}', [("a", 1)], r"a key: half of a surrogate pair (\ud83e)"),
        (r'{"\ud83e": 2}', [], r"a key: half of a surrogate pair (\ud83e)"),
        (r'{"o": {"\ud83e": 2}}', [], r"a key of o: half of a surrogate pair (\ud83e)"),
        (r'"\ud83e"', [], r"the arguments: half of a surrogate pair (\ud83e)"),
        ('{"a": 1, "b": "x\ud800y"}', [("a", 1)], r"b: half of a surrogate pair (\ud800)"),
        ('{"a": 1, "b": "\ud83e\udd17"}', [("a", 1)], r"b: half of a surrogate pair (\ud83e)"),
    ],
)
def test_half_of_a_surrogate_pair_is_an_error_that_names_its_place(text, before, message):
    for places in every_cut(text):
        found, error = arguments_of(pieces(text, places))
        assert (found, error) == (before, message + " is no text"), places


@pytest.mark.parametrize(
    "string",
    [r"\ud83e\udd17", r"\uD83E\uDD17", r"a\ud83e\udd17\ud83e\udd17\n", r"\\ud83e", r"\\\\ud83e\\",
     r"\\\ud83e\udd17", r"\u005cud83e", r"\\u\ud83e\udd17", r"\ud7ff\ue000"],
)  # fmt: skip
def test_a_whole_surrogate_pair_is_its_character_at_every_cut(string):
    text = f'{{"a{string}": "{string}", "b": 1}}'
    value = json.loads(f'"{string}"')
    for places in every_cut(text):
        found, error = arguments_of(pieces(text, places))
        assert error is None
        assert [v for _, v in found] == [value, 1], places
        assert found[0][0] == inside("", "a" + value)


@pytest.mark.parametrize(
    "text",
    [
        r'{"a": 1} \ud83e',
        r'{"a": \ud83e}',
        r'{"a": "\ud83',
        r'{"a": "\ud83x"}',
        r'{"a": "\ud83e',
        "\\",
    ],
)
def test_an_escape_that_is_none_is_no_json_at_every_cut(text):
    for places in every_cut(text):
        _, error = arguments_of(pieces(text, places))
        assert error is not None
        assert error.startswith("the arguments are no JSON: "), places


escapes = st.lists(
    st.sampled_from(["\\", "u", "d83e", "dd17", r"\ud83e", r"\udd17", "n", "a", "u0041", "d", "8"]),
    max_size=12,
).map("".join)


@quick
@given(escapes, cut_points)
def test_any_escapes_give_what_json_gives_or_an_error_at_any_cuts(string, points):
    text = f'{{"a": 1, "b": "{string}"}}'
    found, error = arguments_of([text])
    try:
        expected = json.loads(text)["b"]
    except ValueError:
        assert error is not None
    else:
        if re.search("[\ud800-\udfff]", expected):
            assert error is not None
            assert error.startswith("b: half of a surrogate pair")
        else:
            assert (found, error) == ([("a", 1), ("b", expected)], None)
    again, same = arguments_of(cut(text, points))
    assert again == found
    # The parser's own words may depend on the cuts.
    assert same == error or error.startswith("the arguments are no JSON")
