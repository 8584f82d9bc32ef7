"""Sentences without what changes from case to case: how many different ones were there?"""

from __future__ import annotations

import re

_MOST_CHARS = 120
_PARTS = (
    # What the sender chose.
    (re.compile(r"(Invalid value|unknown tool) (.*?)( - at|: this server|$)"), r"\1 …\3"),
    (re.compile(r"(: )(why|text|x){2,}$"), r"\1…"),
    (re.compile(r"\\+'"), "'"),
    (re.compile(r"0x[0-9a-f]+|in position .*?:"), "N"),
    (re.compile(r"`[^`]*`"), "`…`"),
    (re.compile(r"'[0-9a-f]{32,}'|[0-9a-f]{8,}…?"), "ID"),
    (re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?|\bnan\b|\b-?inf\b"), "N"),
    (re.compile(r"(\$?\[[^\]]*\])+"), "[…]"),
)


def reason_of(sentence: str) -> str:
    """The sentence with its numbers, ids and places taken out.

    Args:
        sentence: of a log, an error or a refusal.
    """
    sentence = sentence[:1000]
    for pattern, instead in _PARTS:
        sentence = pattern.sub(instead, sentence)
    return sentence[:_MOST_CHARS]
