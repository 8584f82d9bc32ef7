"""What a tool says, as UTF-8 can hold it: half of a surrogate pair becomes its escape, `\\ud83e`.

A message on a socket and a result in JSON are UTF-8, which has no place for one. Python's strings
do, and a tool makes them easily: `json.loads`, `os.fsdecode`, a program that prints '\\ud83e'.
"""

from __future__ import annotations

from typing import Any


def encodable(text: str) -> str:
    """The text with half of each surrogate pair escaped, the rest as it is."""
    return text.encode(errors="backslashreplace").decode()


def encodable_value(value: Any) -> Any:
    """A value with each text in it encodable: in lists, tuples, sets and dicts, their keys too.

    Args:
        value: what JSON can hold, and half of surrogate pairs.
    """
    # One frame a level, so that what msgspec can nest we can too.
    match value:
        case str():
            return encodable(value)
        case list() | tuple() | set() | frozenset():
            return list(map(encodable_value, value))
        case dict():
            values = map(encodable_value, value.values())
            return dict(zip(map(_encodable_key, value), values, strict=True))
    return value


def _encodable_key(key: Any) -> Any:
    return encodable(key) if isinstance(key, str) else key
