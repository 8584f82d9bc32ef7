"""Half of a surrogate pair in JSON, as it arrives: `\\ud83e` without `\\udd17` behind it."""

from __future__ import annotations

import re

_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_OTHER = r"\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
#: Text, escapes and whole pairs: all that is no half, and that nothing behind it makes one.
_WHOLE = re.compile(rf"(?:[^\\]++|\\[^u]|{_OTHER}|{_HIGH}{_LOW})*+")
#: The beginning of an escape, or of a pair.
_BEGINNING = re.compile(
    r"\\(?:u[0-9a-fA-F]{0,3})?"
    rf"|{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?"
)  # fmt: skip
_HALF = re.compile(rf"{_HIGH}|{_LOW}")


class HalfPair(ValueError):
    """A text holds half of a surrogate pair.

    Args:
        place: where.
        escape: which, `\\ud83e`.
    """

    def __init__(self, place: str, escape: str) -> None:
        super().__init__(f"{place}: half of a surrogate pair ({escape}) is no text")


class HalfPairs:
    """Finds the first half of a pair, in time that grows with the text alone."""

    def __init__(self) -> None:
        self._undecided = ""

    def feed(self, text: str) -> tuple[int, str] | None:
        """The first half that this piece makes certain: how many characters of the piece come
        before it, its backslash included, and its escape.

        Args:
            text: the next piece of a JSON text; behind an escape that is none, nothing is found.
        """
        if not self._undecided and "\\" not in text:
            return None
        before, text = len(self._undecided), self._undecided + text
        self._undecided = ""
        at = _WHOLE.match(text).end()  # type: ignore[union-attr]
        if _BEGINNING.fullmatch(text, at):
            self._undecided = text[at:]
        elif half := _HALF.match(text, at):
            return max(at + 1 - before, 0), half[0].lower()
        return None
