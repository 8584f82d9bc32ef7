"""What a statement may do, read from its text before any database sees it.

All that is not known to be harmless is refused. Each statement is read twice: as tokens, by the
database's own rules, and as sqlglot's tree; where the two differ, it is refused too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import TokenType

from tool_workers._database_errors import (
    NotOneStatement,
    NotReadOnly,
    SqlSyntaxError,
    StatementRefused,
)
from tool_workers._database_functions import FUNCTIONS, WORDS
from tool_workers._database_nodes import NODES, READS, TYPES, WRITES
from tool_workers._database_text import Kind, Text, Token, read

#: Schemas of the servers' own: what is in them tells of users, sessions and files.
_OWN_SCHEMAS = frozenset(
    ["pg_catalog", "information_schema", "pg_toast", "mysql", "performance_schema", "sys"]
)
#: What of them says how the tables look that one may read anyway.
_DESCRIPTIONS = frozenset({("information_schema", "tables"), ("information_schema", "columns")})
#: Words that are no part of what is allowed, though sqlglot may read them as something that is.
_REFUSED_WORDS = frozenset(
    ["call", "dumpfile", "execute", "handler", "load", "outfile", "prepare", "procedure", "table"]
)
#: What a statement may begin with.
_BEGINNINGS = frozenset(["select", "with", "values", "insert", "update", "delete"])
_QUOTED_TOKENS = frozenset({TokenType.STRING, TokenType.IDENTIFIER, TokenType.HEX_STRING})

#: What PostgreSQL's operators are made of, and the operators that words of its language look up.
_SIGNS = frozenset("+-*/<>=~!@#%^&|`?")
_EQUALITY = "= <>"
_SIGNS_OF_WORDS = {
    "like": "~~ !~~", "ilike": "~~* !~~*", "similar": "~ !~", "between": "< <= > >=",
    "in": _EQUALITY, "any": _EQUALITY, "case": _EQUALITY, "distinct": _EQUALITY,
    "natural": _EQUALITY, "nullif": _EQUALITY, "using": _EQUALITY,
}  # fmt: skip

# It logs what it cannot parse, which is then refused.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Known:
    """What a server says of its own names.

    Args:
        foreign: functions that are not its own, but a user's or an extension's.
        attributes: what may not stand behind a dot as a column: there it would call a function.
        operators: signs that call such functions.
    """

    foreign: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Statement:
    """A statement that may run.

    Args:
        sql: its text, as it is sent.
        writes: whether it changes rows or locks them.
        tables: schema, or None, and name of each.
    """

    sql: str
    writes: bool
    tables: frozenset[tuple[str | None, str]] = field(default=frozenset())


NOTHING = Known()


def checked(sql: str, *, dialect: str, write: bool, known: Known = NOTHING) -> Statement:
    """Check a statement.

    Args:
        sql: its text.
        dialect: the database's, by sqlglot's name.
        write: whether INSERT, UPDATE and DELETE are allowed.
        known: what the server says of its names.

    Raises:
        NotOneStatement: it is empty, or several.
        SqlSyntaxError: it cannot be parsed.
        StatementRefused: it is neither a query nor a change of rows, or reaches beyond the tables.
        NotReadOnly: it writes, and `write` is False.
    """
    text = read(sql, dialect)
    first = next((token.text for token in text.tokens if token.text != "("), "(")
    if first.lower() not in _BEGINNINGS:
        what = first.upper() if first.isalpha() and len(first) <= 20 else "what begins otherwise"
        raise StatementRefused(f"{what} is not allowed: {_allowed(write)}")
    _check_words(text, dialect)
    tree = _parsed(text, dialect)
    if not isinstance(tree, (*READS, *WRITES)):
        raise StatementRefused(f"{_what(tree)} is not allowed: {_allowed(write)}")
    functions = FUNCTIONS[dialect] - known.foreign
    _check_calls(text, tree, functions, known)
    _check_operators(text, known.operators)
    writes = False
    for node in tree.walk():
        _check_node(node, dialect, functions, known)
        writes = writes or isinstance(node, (*WRITES, exp.Lock))
    if writes and not write:
        raise NotReadOnly(f"the statement writes or locks: {_allowed(write)}")
    return Statement(text.sql, writes, frozenset(_tables(tree)))


# --- its tokens ---


def _check_calls(text: Text, tree: exp.Expr, functions: frozenset[str], known: Known) -> None:
    """Whatever stands before a parenthesis is a function that is allowed, or no function."""
    # A table or alias with a list of its columns looks like a call: as often as the tree has it.
    lists = Counter(_column_lists(tree))
    tokens = text.tokens
    for number, token in enumerate(tokens[:-1]):
        if tokens[number + 1].text != "(" or token.kind not in (Kind.WORD, Kind.QUOTED):
            continue
        quoted, name = _name(token)
        qualified = number > 0 and tokens[number - 1].text == "."
        if not qualified and not quoted:
            lower = name.lower()
            if lower in functions or (lower in WORDS and lower not in known.foreign):
                continue
        if lists[name] > 0 and name.lower() not in known.foreign:
            lists[name] -= 1
        else:
            dot = "of a schema " if qualified else ""
            raise StatementRefused(f"the function {name} {dot}is not allowed")


def _check_operators(text: Text, foreign: frozenset[str]) -> None:
    """No run of signs, and no word that stands for signs, calls a user's operator."""
    if not foreign:
        return
    for written in _operators(text):
        if written in foreign:
            raise StatementRefused(f"the operator {written} calls a function that is not allowed")


def _operators(text: Text) -> Iterator[str]:
    """All that PostgreSQL may read as an operator: some stand for words, and `<>` for `!=`."""
    runs, end = [""], 0
    for token in text.tokens:
        if token.kind is Kind.WORD:
            yield from _SIGNS_OF_WORDS.get(token.text.lower(), "").split()
        elif token.kind is Kind.MARK and token.text in _SIGNS:
            if token.start != end:
                runs.append("")
            runs[-1] += token.text
            end = token.start + 1
    for run in runs:
        yield "<>" if run == "!=" else run
        # Signs at the end may be those of a number.
        for at in range(len(run) - 1, 0, -1):
            if run[at] not in "+-":
                break
            yield run[at]
            yield "<>" if run[:at] == "!=" else run[:at]


def _column_lists(tree: exp.Expr) -> Iterator[str]:
    for node in tree.find_all(exp.TableAlias):
        if node.columns:
            yield str(node.name)
    for schema in tree.find_all(exp.Schema):
        yield str(schema.this.name)


def _check_words(text: Text, dialect: str) -> None:
    before = ""
    for token in text.tokens:
        quoted, name = _name(token)
        lower = name.lower()
        if token.kind is Kind.WORD and lower in _REFUSED_WORDS:
            raise StatementRefused(f"the word {name} is not allowed in a statement")
        if token.kind is Kind.WORD and lower == "into" and before not in {"insert", "ignore"}:
            raise StatementRefused("INTO is allowed only after INSERT")
        if (
            dialect == "postgres"
            and lower.startswith("pg_")
            and (quoted or token.kind is Kind.WORD)
        ):
            raise StatementRefused(f"{name} is the server's own: a statement must not name it")
        before = lower if token.kind is Kind.WORD else ""


def _name(token: Token) -> tuple[bool, str]:
    """Whether a token is a name in quotes, and the name."""
    if token.kind is not Kind.QUOTED or token.text[-1] == "'":
        return False, token.text
    quote = token.text[-1]
    return True, token.text[1:-1].replace(quote * 2, quote)


# --- its tree ---


def _parsed(text: Text, dialect: str) -> exp.Expr:
    try:
        tokens = sqlglot.tokenize(text.sql, dialect=dialect)
        spans = {(t.start, t.end + 1) for t in tokens if t.token_type in _QUOTED_TOKENS}
        ours = {(t.start, t.start + len(t.text)) for t in text.tokens if t.kind is Kind.QUOTED}
        if spans != ours:
            raise StatementRefused("the statement's quotes are ambiguous: write them more simply")
        trees = [tree for tree in sqlglot.parse(text.sql, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise SqlSyntaxError(_first_line(error)) from None
    except RecursionError:
        raise SqlSyntaxError("the statement is nested too deeply") from None
    if len(trees) != 1:
        raise NotOneStatement("the string does not hold one statement: give exactly one")
    return trees[0]


def _check_node(node: exp.Expr, dialect: str, functions: frozenset[str], known: Known) -> None:
    if isinstance(node, (exp.Anonymous, exp.AnonymousAggFunc)):
        if str(node.name).lower() not in functions:
            raise StatementRefused(f"the function {node.name} is not allowed")
    elif isinstance(node, exp.DataType):
        if node.this not in TYPES and not isinstance(node.this, exp.CharacterSet):
            raise StatementRefused(f"the type {node.sql(dialect)} is not allowed")
    elif isinstance(node, exp.Table):
        _check_table(node)
    elif isinstance(node, exp.Column):
        name = str(node.name).lower()
        if node.table and name in known.attributes:
            raise StatementRefused(
                f"{node.table}.{node.name} could call a function: rename the column, or leave its "
                "table away"
            )
    elif type(node) not in NODES[dialect]:
        raise StatementRefused(f"{_what(node)} is not allowed in a statement")
    if node.args.get("operation_modifiers") or node.args.get("hint") or node.args.get("hints"):
        raise StatementRefused("hints and modifiers are not allowed in a statement: leave them out")


def _check_table(table: exp.Table) -> None:
    schema, name = str(table.db).lower(), str(table.name).lower()
    if table.catalog:
        raise StatementRefused(f"name {name} without a database: it is the one that is connected")
    if schema in _OWN_SCHEMAS and (schema, name) not in _DESCRIPTIONS:
        raise StatementRefused(f"the table {schema}.{name} is not allowed: it is the server's own")
    if table.args.get("sample") or table.args.get("rows_from") or table.args.get("partition"):
        raise StatementRefused(f"the table {name} can only be named, without further words")


def _tables(tree: exp.Expr) -> Iterator[tuple[str | None, str]]:
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and (table.db or not _is_common(table)):
            yield (str(table.db) or None, str(table.name))


def _is_common(table: exp.Table) -> bool:
    """Whether a query around a table's name defines it: what is written lies outside of queries."""
    above = table.parent
    while above is not None:
        if not isinstance(above, WRITES):
            common = above.args.get("with_")
            if common and any(str(cte.alias) == table.name for cte in common.expressions):
                return True
        above = above.parent
    return False


def _allowed(write: bool) -> str:
    return "use SELECT, INSERT, UPDATE or DELETE" if write else "only SELECT can be used"


def _what(node: exp.Expr) -> str:
    return node.sql_name() if isinstance(node, exp.Func) else type(node).__name__.upper()


def _first_line(error: SqlglotError) -> str:
    # Its other lines quote the statement, with colours for a terminal.
    return str(error).partition("\n")[0].rstrip(". ")
