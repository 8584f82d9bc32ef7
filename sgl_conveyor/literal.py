"""A grammar that admits one text: it replays a recorded tool call, every decode step real."""

from __future__ import annotations

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def literal_grammar(text: str) -> str:
    """An EBNF grammar that admits exactly one text.

    Args:
        text: any text that can be encoded in UTF-8, and is not empty.

    Raises:
        ValueError: it is empty, or holds a lone surrogate.
    """
    if not text:
        raise ValueError("a literal region needs a text: it is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a literal region cannot replay its text: {error}") from None
    return f'root ::= "{"".join(_ESCAPES.get(c) or _printable(c) for c in text)}"'


def _printable(character: str) -> str:
    code = ord(character)
    # Four digits: xgrammar reads a hex digit that follows `\x41` into it.
    return f"\\u{code:04x}" if code < 0x20 or code == 0x7F else character
