"""Lines of a region's text, without their endings or with them."""

import re
from typing import NamedTuple

#: What ends a line of Python.
_SOURCE_ENDING = re.compile(r"(\r\n|\r|\n)")


class LineSplitter:
    """Splits text into lines, without their endings (`\\n` or `\\r\\n`)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def feed(self, text: str) -> list[str]:
        """The lines that `text` completes."""
        first, *rest = text.split("\n")
        self._pieces.append(first)
        if not rest:
            return []
        lines = ["".join(self._pieces), *rest[:-1]]
        self._pieces = [rest[-1]]
        return [line.removesuffix("\r") for line in lines]

    def close(self) -> list[str]:
        """The last, unterminated line, if there is one."""
        last = "".join(self._pieces)
        self._pieces = []
        return [last] if last else []


class SourceLine(NamedTuple):
    """A line of Python, and what ended it: `\\n`, `\\r\\n`, `\\r`, or nothing at the text's end."""

    text: str
    ending: str


class SourceLineSplitter:
    """Splits text into lines where Python's parser does, and keeps how each was ended."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        # The text ends with a carriage return, which a newline may follow.
        self._held = ""

    def feed(self, text: str) -> list[SourceLine]:
        """The lines that `text` completes."""
        if not text:
            return []
        if not self._held and "\n" not in text and "\r" not in text:
            # Most pieces are a token within a line.
            self._pieces.append(text)
            return []
        text, self._held = self._held + text, ""
        if text.endswith("\r"):
            text, self._held = text[:-1], "\r"
        first, *rest = _SOURCE_ENDING.split(text)
        self._pieces.append(first)
        if not rest:
            return []
        texts = ["".join(self._pieces), *rest[1:-1:2]]
        self._pieces = [rest[-1]]
        return list(map(SourceLine, texts, rest[::2]))

    def close(self) -> list[SourceLine]:
        """The last line, if there is one."""
        last = SourceLine("".join(self._pieces), self._held)
        self._pieces, self._held = [], ""
        return [last] if any(last) else []
