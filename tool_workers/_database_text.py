"""A statement's text, cut into tokens by the rules that its database has, not by a parser's.

What is read apart by two lexers is how a statement passes a guard: so whatever our databases do not
read as everyone does is refused here, comments never reach them, and a hint is none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from tool_workers._database_errors import NotOneStatement, SqlSyntaxError, StatementRefused

#: Characters of one statement.
MAX_STATEMENT_CHARS = 20_000

#: A doubled quote is one of the text's; in MariaDB a backslash keeps the next character.
_DOUBLED = r"{0}(?:[^{0}]|{0}{0})*{0}(?!{0})"
_ESCAPED = r"{0}(?:[^{0}\\]|\\.|{0}{0})*{0}(?!{0})"
_QUOTED = {
    "sqlite": "|".join([*(_DOUBLED.format(quote) for quote in "'\"`"), r"\[[^\]]*\]"]),
    "postgres": "|".join(_DOUBLED.format(quote) for quote in "'\""),
    "mysql": "|".join([*(_ESCAPED.format(quote) for quote in "'\""), _DOUBLED.format("`")]),
}
#: `x'00'`; where PostgreSQL has letters before a quote, what follows is read in another way.
_HEX = {"sqlite": r"[xX]'[0-9a-fA-F]*'", "mysql": r"[xX]'[0-9a-fA-F]*'", "postgres": r"(?!)"}
_OTHER = {"sqlite": "", "postgres": r"\[\]:@~^", "mysql": "^"}
_TOKENS = r"""
    (?P<blank>   [ \t\r\n]+ | --(?![^ \t\r\n])[^\n]* | /\*(?![!+]|M!)(?:(?!/\*|\*/).)*\*/ )
  | (?P<quoted>  (?: {hexadecimal} | {quoted} )(?![\w'"`]) )
  | (?P<number>  (?: 0[xX][0-9a-fA-F]+ | [0-9]++(?:\.[0-9]*+)?(?:[eE][-+]?[0-9]++)? )(?!\w) )
  | (?P<word>    [^\W\d]\w*+(?!['"`]) )
  | (?P<mark>    -(?!-) | /(?!\*) | \*(?!/) | &(?!['"`]) | [(),.;+%<>=!|?{other}] )
"""
_PATTERNS = {
    dialect: re.compile(
        _TOKENS.format(hexadecimal=_HEX[dialect], quoted=quoted, other=_OTHER[dialect]),
        re.VERBOSE | re.DOTALL,
    )
    for dialect, quoted in _QUOTED.items()
}


class Kind(Enum):
    """What a token is: a name or keyword, something in quotes, a number, a sign."""

    WORD = "word"
    QUOTED = "quoted"
    NUMBER = "number"
    MARK = "mark"


@dataclass(frozen=True)
class Token:
    """A token, and where it begins in the text that is sent."""

    kind: Kind
    text: str
    start: int


@dataclass(frozen=True)
class Text:
    """What is sent: one statement without comments and final semicolon, and its tokens."""

    sql: str
    tokens: list[Token]


def read(sql: str, dialect: str) -> Text:
    """Cut a statement into tokens.

    Args:
        sql: its text.
        dialect: the database's, by sqlglot's name.

    Raises:
        NotOneStatement: it is empty, or several.
        SqlSyntaxError: a quote or a comment has no end.
        StatementRefused: it is too long, or holds what is not read alike everywhere.
    """
    if len(sql) > MAX_STATEMENT_CHARS:
        raise StatementRefused(f"the statement is longer than {MAX_STATEMENT_CHARS} characters")
    if "\0" in sql:
        raise StatementRefused("a statement must not contain the character NUL")
    tokens: list[Token] = []
    kept: list[str] = []
    at = length = 0
    while at < len(sql):
        found = _PATTERNS[dialect].match(sql, at)
        if found is None:
            raise _cannot_be_read(sql[at:])
        part = found[0]
        if found.lastgroup == "blank":
            part = " " if part.startswith(("--", "/*")) else part
        else:
            tokens.append(Token(Kind(found.lastgroup), part, length))
        kept.append(part)
        length += len(part)
        at = found.end()
    text = "".join(kept)
    while tokens and tokens[-1].text == ";":
        text = text[: tokens.pop().start]
    if not tokens:
        raise NotOneStatement("the string holds no statement: give exactly one")
    if any(token.text == ";" for token in tokens):
        raise NotOneStatement("the string holds several statements: give exactly one")
    return Text(text, tokens)


def _cannot_be_read(rest: str) -> SqlSyntaxError | StatementRefused:
    if rest.startswith(("/*!", "/*+", "/*M!")):
        return StatementRefused("hints and comments that are run are not allowed: leave them out")
    if rest.startswith("/*"):
        if "*/" in rest:
            return StatementRefused("a comment within a comment is not allowed: leave it out")
        return SqlSyntaxError("a comment has no end")
    if rest.startswith("--"):
        return StatementRefused("`--` must be followed by a blank: databases read it apart")
    if rest[0] in "'\"`[":
        return SqlSyntaxError(f"what begins with {rest[0]} has no end, or touches what follows")
    found = re.match(r"\w+['\"`]?|&.", rest)
    what = found[0][:40] if found else rest[0]
    return StatementRefused(f"a statement must not contain {what!r}: databases read it apart")
