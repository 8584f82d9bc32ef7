"""Arguments: each JSON value with its path, as soon as it is certain, whatever the pieces."""

import json
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sgl_conveyor.testing import every_cut, pieces
from sgl_conveyor.units.arguments import MAX_BYTES, MAX_DEPTH, ArgumentSplitter
from tests.support import cut, cut_points, quick
from tests.units.splitting import arguments_of, inside


class Pairs(list):
    """An object's pairs, in which a key may come twice."""


def exactly(found):
    """Comparable, so that 1, 1.0 and True differ, and 0.0 and -0.0."""
    return [(path, json.dumps(value)) for path, value in found]


def reference(text):
    """The arguments as `json.loads` has them."""
    return list(walk(json.loads(text, object_pairs_hook=Pairs), ""))


def walk(value, path):
    if isinstance(value, Pairs):
        children = [(inside(path, key), child) for key, child in value]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    else:
        children = []
    for child_path, child in children:
        yield from walk(child, child_path)
        yield child_path, plain(child)


def plain(value):
    if isinstance(value, Pairs):
        return {key: plain(child) for key, child in value}
    return [plain(child) for child in value] if isinstance(value, list) else value


keys = st.sampled_from(["a", "b", "a.b", "", "two words", '"', "é", "\n", "0", "名"])
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=8),
)


def objects(inner):
    return st.lists(st.tuples(keys, inner), max_size=4).map(Pairs)


values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), objects(inner)), max_leaves=12
)


@st.composite
def texts(draw):
    """An object as JSON, written in one way or another, with keys that may come twice."""
    ascii_only = draw(st.booleans())
    spaces = st.sampled_from(["", " ", "\n", " \t\r\n"])

    def written(value):
        space = draw(spaces)
        if isinstance(value, Pairs):
            members = [f"{written(k)}:{written(v)}" for k, v in value]
            return f"{space}{{{','.join(members) or space}}}{space}"
        if isinstance(value, list):
            return f"{space}[{','.join(map(written, value)) or space}]{space}"
        return f"{space}{json.dumps(value, ensure_ascii=ascii_only)}{space}"

    return written(draw(objects(values)))


# --- which values, with which paths ----------------------------------------------------------


@quick
@given(texts(), cut_points)
def test_any_object_at_any_cuts_gives_what_json_gives(text, points):
    found, error = arguments_of(cut(text, points))
    assert error is None
    assert exactly(found) == exactly(reference(text))


@quick
@given(texts())
def test_a_character_at_a_time_gives_the_same(text):
    assert exactly(arguments_of(list(text))[0]) == exactly(reference(text))


def test_children_come_before_their_container_and_the_root_does_not_come():
    text = '{"a": {"b": 1, "c": []}, "d": [2, {"name": "x"}]}'
    assert arguments_of([text]) == (
        [
            ("a.b", 1),
            ("a.c", []),
            ("a", {"b": 1, "c": []}),
            ("d[0]", 2),
            ("d[1].name", "x"),
            ("d[1]", {"name": "x"}),
            ("d", [2, {"name": "x"}]),
        ],
        None,
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('{"a": {"b": 1}}', "a.b"),
        ('{"values": [0, 0, {"name": 1}]}', "values[2].name"),
        ('{"a.b": 1}', '["a.b"]'),
        ('{"a": {"two words": 1}}', 'a["two words"]'),
        ('{"": 1}', '[""]'),
        ('{"\\"": 1}', '["\\""]'),
        ('{"1st": {"b": 1}}', '["1st"].b'),
        ('{"größe": 1}', "größe"),
        ('{"\\u0061": 1}', "a"),
        ("[[1]]", "[0][0]"),
    ],
)
def test_paths(text, path):
    assert (path, 1) in arguments_of([text])[0]


def test_a_key_that_comes_twice_is_handed_over_twice_and_the_last_one_stays():
    assert arguments_of(['{"o": {"a": 1, "a": [2]}}'])[0] == [
        ("o.a", 1),
        ("o.a[0]", 2),
        ("o.a", [2]),
        ("o", {"a": [2]}),
    ]


@pytest.mark.parametrize("text", ["5", '"x"', "null", " {} ", "[]"])
def test_a_root_without_children_has_no_arguments(text):
    assert arguments_of([text]) == ([], None)


@pytest.mark.parametrize(
    "number", ["0", "-0", "-0.0", "1.0", "1e3", "1E+2", "1e-5", "12345678901234567890.5",
               "9223372036854775808", "-9223372036854775809", "9" * 4300, "1e-400"],
)  # fmt: skip
def test_numbers_are_ints_and_floats_as_json_has_them(number):
    found, error = arguments_of([f'{{"a": {number}}}'])
    assert (exactly(found), error) == ([("a", json.dumps(json.loads(number)))], None)


@pytest.mark.parametrize(
    "string", [r'"\"\\\/\b\f\n\r\t"', r'"é😀"', '"é😀 "', r'"\u0000"', '"\x7f"']
)
def test_escapes(string):
    text = f'{{"a": {string}}}'
    for places in every_cut(text):
        assert arguments_of(pieces(text, places)) == ([("a", json.loads(string))], None)


# --- when each is handed over ----------------------------------------------------------------


@pytest.mark.parametrize(
    "marked",
    [
        '{"a": "x"|, "b": ""|}',
        '{"a": "say \\"hi\\" \\\\"|}',
        '{"a": true|, "b": false|, "c": null|}',
        '{"a": 12,|"b": 3.5e1 |, "c": -7}|',
        '{"a": [1,|20]||, "b": []|}',
        '{"a": {"b": {"c": "x"|}|}|, "d": {}|}',
        '{"a": [true|, [0]||]|\n}',
    ],
)
def test_a_value_is_handed_over_at_the_character_that_makes_it_certain(marked):
    """A `|` stands for a value, behind the character that completes it."""
    splitter = ArgumentSplitter()
    text = marked.replace("|", "")
    expected = [len(marks) for marks in re.findall(r"[^|](\|*)", marked)]
    assert [len(list(splitter.feed(character))) for character in text] == expected
    assert list(splitter.close()) == []


def test_the_values_of_one_piece_come_one_by_one():
    """Whoever takes them may act on the first before the second is looked at."""
    splitter = ArgumentSplitter()
    arguments = splitter.feed('{"a": 1, "b": oops')
    assert tuple(next(arguments)) == ("a", 1)
    with pytest.raises(ValueError, match="no JSON"):
        next(arguments)


# --- text that is no JSON --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("", []),
        ("   ", []),
        ('{"a": 1', [("a", 1)]),
        ('{"a": "x", "b": "y', [("a", "x")]),
        ('{"a": 1} x', [("a", 1)]),
        ('{"a": 1}{"b": 2}', [("a", 1)]),
        ('{"a": 1}"', [("a", 1)]),
        ('{"a": 1}"\\', [("a", 1)]),
        ('{"a": 1} tr', [("a", 1)]),
        ('{"a": 1,}', [("a", 1)]),
        ('{"a": [1, 2 3]}', [("a[0]", 1), ("a[1]", 2)]),
        ('{"a": [1}', [("a[0]", 1)]),
        ('{"a": 1, "b": tru}', [("a", 1)]),
        ('{"a": 1, "b": NaN}', [("a", 1)]),
        ('{"a": 1, "b": -x}', [("a", 1)]),
        ('{"a": 1, "b": 1.}', [("a", 1)]),
        ('{"a": 1, b: 2}', [("a", 1)]),
        ('{"a": 1, "b" 2}', [("a", 1)]),
        ('{"a": 1, "b": "\n"}', [("a", 1)]),
        ('{"a": 1, "b": "\\x"}', [("a", 1)]),
        ('{"a": 1, /* b */ "c": 2}', [("a", 1)]),
        ("\ufeff{}", []),
    ],
)
def test_what_comes_before_a_fault_is_handed_over_at_every_cut(text, before):
    for places in every_cut(text):
        found, error = arguments_of(pieces(text, places))
        assert found == before, places
        assert error is not None
        assert error.startswith("the arguments are no JSON: ")
        assert "\n" not in error


@quick
@given(texts(), st.data(), cut_points)
def test_a_fault_anywhere_gives_the_same_at_any_cuts(text, data, points):
    at = data.draw(st.integers(0, len(text) - 1))
    junk = data.draw(st.sampled_from(["", "x", '"', ",", "]", "}", "1", "\\", "\x00", "é"]))
    broken = text[:at] + junk + text[at + data.draw(st.integers(0, 3)) :]
    found, error = arguments_of([broken])
    try:
        expected = reference(broken)
    except ValueError:
        assert error is not None
    else:
        # What json.loads takes and JSON has not, or UTF-8 and floats cannot hold.
        assume(not re.search(r"NaN|Infinity", broken) and "inf" not in repr(expected))
        assume(not re.search("[\ud800-\udfff]", str(expected)))
        assert (exactly(found), error) == (exactly(expected), None)
    again, same = arguments_of(cut(broken, points))
    assert exactly(again) == exactly(found)
    assert (same is None) == (error is None)


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "9" * 5000, "9" * 5000 + ".5", "1e99999999999999999999",
               "-1e-99999999999999999999"],
)  # fmt: skip
def test_a_number_that_python_cannot_hold_is_an_error_and_no_crash(number):
    text = f'{{"a": 1, "b": {number}, "c": 2}}'
    for texts_ in ([text], list(text)):
        found, error = arguments_of(texts_)
        assert found == [("a", 1)]
        assert error is not None
        assert "number" in error


# --- limits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"k":', "}")])
def test_the_depth_limit(opening, closing):
    def nested(depth):
        # The root and the list around the nesting are two levels.
        text = '{"first": 1, "deep": ' + opening * (depth - 1) + "0" + closing * (depth - 1) + "}"
        return arguments_of([text]), arguments_of(list(text))

    for found, error in nested(MAX_DEPTH):
        assert error is None
        assert len(found) == 1 + MAX_DEPTH
    for found, error in nested(MAX_DEPTH + 1):
        assert found == [("first", 1)]
        assert error == f"the arguments are nested deeper than {MAX_DEPTH}"


def test_a_million_brackets_are_an_error_and_no_crash():
    assert arguments_of(["[" * (MAX_BYTES - 1)])[1] is not None


def test_the_size_limit_holds_at_its_last_byte():
    head = '{"a": 1, "b": 2}'
    splitter = ArgumentSplitter()
    found = list(splitter.feed(head + " " * (MAX_BYTES - len(head) - 1)))
    found += splitter.feed(" ")
    assert [argument.path for argument in found] == ["a", "b"]
    with pytest.raises(ValueError, match="longer than 1048576 bytes"):
        list(splitter.feed(" "))


@pytest.mark.parametrize("size", [4096, 2 * MAX_BYTES])
def test_the_size_limit_counts_bytes_and_is_the_same_in_any_pieces(size):
    head, tail = '{"a": 1, "b": "', '"}'
    fill = "é" * ((MAX_BYTES - len(head + tail)) // 2)
    for text, fits in ((head + fill + tail, True), (head + fill + "éé" + tail, False)):
        found, error = arguments_of([text[i : i + size] for i in range(0, len(text), size)])
        assert [path for path, _ in found] == (["a", "b"] if fits else ["a"])
        assert error == (None if fits else "the arguments are longer than 1048576 bytes")
