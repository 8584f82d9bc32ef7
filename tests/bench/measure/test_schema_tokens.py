"""What white space costs: the same JSON text, written compactly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.schema_tokens import compacted

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.sampled_from([None, 0, 1, "\n\t"]), st.booleans())
def test_any_text_of_a_value_becomes_the_compact_one(value, indent, ascii_only) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert compacted(text) == json.dumps(value, ensure_ascii=ascii_only)


@pytest.mark.parametrize(
    ("text", "compact"),
    [
        ("[\n\n\n", "["),
        ('{ "a  b" :1 , "c\\" ', '{"a  b": 1, "c\\" '),
        ("", ""),
    ],
)
def test_a_cut_text_too(text: str, compact: str) -> None:
    assert compacted(text) == compact
