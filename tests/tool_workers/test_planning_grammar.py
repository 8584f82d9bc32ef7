"""The planning tool's grammar: what a model may write under it."""

from __future__ import annotations

import pytest

from programs.planning import RECORDED
from tool_workers.planning import Planning

xgrammar = pytest.importorskip("xgrammar")


def test_it_admits_the_recorded_plan_and_no_prose() -> None:
    from xgrammar.testing import _is_grammar_accept_string

    grammar = xgrammar.Grammar.from_ebnf(Planning.ebnf)
    good = [RECORDED, RECORDED.strip(), '$1 = a-b(x=[$2, {"é\\n": null}], y=-1.5)']
    for text in good:
        assert _is_grammar_accept_string(grammar, text), text
    for text in ["", "Sure!", "$1 = a(", "$1 = a()\n\n", "$1 = a()\nDone.", '$1 = a("\n")']:
        assert not _is_grammar_accept_string(grammar, text), text
