"""Text → arguments: each JSON value of an object, with its path, as soon as it is certain.

Parsed by ijson's coroutine over its C backend (yajl): a push parser that takes pieces of any size,
hands over a string at its closing quote and a number with the character behind it, and costs less
than a microsecond a byte. What is ours is only the tree and the paths.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import ijson
from ijson.utils import sendable_list

from sgl_conveyor.encodable import encodable
from sgl_conveyor.units.half_pairs import HalfPair, HalfPairs

#: Containers within each other.
MAX_DEPTH = 64
#: Characters of a value's path, which each item of a list repeats.
MAX_PATH_CHARS = 2000
#: Bytes of one region's arguments.
MAX_BYTES = 1024 * 1024

_parse = ijson.get_backend("yajl2_c").basic_parse_coro


class Argument(NamedTuple):
    """One complete value: `filters[2].name`, and what it is."""

    path: str
    value: Any


class _Container:
    """An object or list that is not closed yet."""

    def __init__(self, value: dict[str, Any] | list[Any], path: str) -> None:
        self.value = value
        self.path = path
        #: The key of the value that comes next, once it is complete.
        self.key: str | None = None

    def place(self) -> str:
        """The path of the value that comes next."""
        if isinstance(self.value, list):
            return f"{self.path}[{len(self.value)}]"
        if self.key is None:
            return f"a key of {self.path}" if self.path else "a key"
        if not self.key.isidentifier():
            return f"{self.path}[{json.dumps(self.key, ensure_ascii=False)}]"
        return f"{self.path}.{self.key}" if self.path else self.key

    def add(self, value: Any) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None


class ArgumentSplitter:
    """Splits the text of one JSON value into its arguments, children before their containers.

    The value as a whole, the root, is not handed over.
    """

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = sendable_list()
        self._parser = _parse(self._events)
        self._half_pairs = HalfPairs()
        self._open: list[_Container] = []
        self._bytes = 0
        self._root_is_complete = False

    def feed(self, text: str) -> Iterator[Argument]:
        """The values that this piece of text makes certain.

        Raises:
            ValueError: the text is no JSON, too long or too deep; what came before is
                handed over first.
            HalfPair: a string holds half of a surrogate pair, of which the parser would make
                a question mark.
        """
        half = self._half_pairs.feed(text)
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            itself = (error.start, encodable(text[error.start]))
            half = min(half or itself, itself)
        if half is not None:
            # With the backslash: the parser refuses one outside of a string.
            data = text[: half[0]].encode()
        within = data[: MAX_BYTES - self._bytes]
        self._bytes += len(within)
        if within:
            yield from self._push(within)
        if len(within) < len(data):
            raise ValueError(f"the arguments are longer than {MAX_BYTES} bytes")
        if half is not None:
            raise HalfPair(self._open[-1].place() if self._open else "the arguments", half[1])

    def close(self) -> Iterator[Argument]:
        """The values that the end of the text makes certain.

        Raises:
            ValueError: the text is not complete.
        """
        if self._root_is_complete:
            # yajl overlooks a string that begins behind the root and does not end: end it.
            yield from self._push(b' "')
        # To ijson an empty piece is the end.
        yield from self._push(b"")

    def _push(self, data: bytes) -> Iterator[Argument]:
        failure: Exception | None = None
        try:
            self._parser.send(data)
        except StopIteration:
            pass
        except (ijson.JSONError, ValueError, ArithmeticError) as error:
            failure = error
        except SystemError as error:
            # A number that Python refuses, one of thousands of digits say. Its event holds a null
            # pointer: whoever unpacks it takes the process down.
            failure = error
            del self._events[-1]
        events = self._events[:]
        self._events.clear()
        for name, value in events:
            argument = self._take(name, value)
            if argument is not None:
                yield argument
        if failure is not None:
            raise ValueError(f"the arguments are no JSON: {_sentence(failure)}") from None

    def _take(self, event: str, value: Any) -> Argument | None:
        match event:
            case "map_key":
                if len(self._open[-1].path) + len(value) > MAX_PATH_CHARS:
                    raise ValueError(f"a key's path is longer than {MAX_PATH_CHARS} characters")
                self._open[-1].key = value
                return None
            case "start_map" | "start_array":
                if len(self._open) >= MAX_DEPTH:
                    raise ValueError(f"the arguments are nested deeper than {MAX_DEPTH}")
                path = self._open[-1].place() if self._open else ""
                self._open.append(_Container({} if event == "start_map" else [], path))
                return None
            case "end_map" | "end_array":
                closed = self._open.pop()
                return self._complete(closed.value)
            case "number" if isinstance(value, Decimal):
                if not math.isfinite(number := float(value)):
                    raise ValueError(f"a number is too large: {str(value)[:40]}")
                return self._complete(number)
            case _:
                return self._complete(value)

    def _complete(self, value: Any) -> Argument | None:
        if not self._open:
            self._root_is_complete = True
            return None
        parent = self._open[-1]
        argument = Argument(parent.place(), value)
        parent.add(value)
        return argument


def half_pair_of(text: str) -> HalfPair | None:
    """The half of a surrogate pair that ends the arguments in this text, if it is what ends them.

    pydantic refuses one too, but cannot say in which argument it stands.
    """
    try:
        for _ in ArgumentSplitter().feed(text):
            pass
    except HalfPair as half:
        return half
    except ValueError:
        return None
    return None


def _sentence(error: Exception) -> str:
    """The parser's message without the text around the place, which it quotes over lines."""
    if isinstance(error, (SystemError, ArithmeticError)):
        return "a number is out of range"
    text = error.args[0] if error.args else ""
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    return " ".join(str(text).splitlines()[:1]) or type(error).__name__
