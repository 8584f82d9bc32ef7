"""What a statement may do, read from its text before any database sees it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

#: Characters of one statement.
MAX_STATEMENT_CHARS = 20_000

_READS = (exp.Select, exp.SetOperation, exp.Subquery, exp.Values)
_WRITES = (exp.Insert, exp.Update, exp.Delete)
#: What hides in a query and changes more than rows, or locks them.
_HIDDEN = (exp.Command, exp.Into, exp.DDL, exp.DML)
#: Functions that reach beyond the tables: files, other servers, sessions, locks.
_REFUSED_PREFIXES = ("pg_", "lo_", "dblink", "query_to_xml", "current_setting", "release_")
_REFUSED_FUNCTIONS = {
    "benchmark", "dblink", "dblink_exec", "edit", "fts3_tokenizer", "get_lock", "lo_export",
    "lo_import", "lo_put", "load_extension", "load_file", "openrowset", "pg_advisory_lock",
    "pg_cancel_backend", "pg_ls_dir", "pg_read_binary_file", "pg_read_file", "pg_reload_conf",
    "pg_sleep", "pg_stat_file", "pg_terminate_backend", "query_to_xml", "readfile", "regexp",
    "set_config", "sleep", "sys_eval", "sys_exec", "writefile", "xp_cmdshell",
}  # fmt: skip
#: A comment that MySQL runs and a template's marks: sqlglot and the database read these apart.
_READ_APART = ("/*!", "/*M!", "{#", "{%", "\0", "U&", "u&")
#: SQLAlchemy's names of dialects that sqlglot calls otherwise.
_DIALECTS = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}

# It logs what it cannot parse, which is then refused.
logging.getLogger("sqlglot").setLevel(logging.ERROR)


class StatementError(Exception):
    """A statement that did not run to its end; the kinds below say why."""


class NotOneStatement(StatementError):
    """A string that holds no statement, or several."""


class SqlSyntaxError(StatementError):
    """A text that is no SQL."""


class StatementRefused(StatementError):
    """A statement, or a part of one, that is never allowed."""


class NotReadOnly(StatementError):
    """A statement that writes, where only reading is allowed."""


@dataclass(frozen=True)
class Statement:
    """A statement that may run.

    Args:
        sql: its text, as it was written.
        writes: whether it changes rows.
    """

    sql: str
    writes: bool


def checked(sql: str, *, dialect: str, write: bool) -> Statement:
    """Check a statement.

    Args:
        sql: its text.
        dialect: the database's, by SQLAlchemy's name.
        write: whether INSERT, UPDATE and DELETE are allowed.

    Raises:
        NotOneStatement: it is empty, or several.
        SqlSyntaxError: it cannot be parsed.
        StatementRefused: it is neither a query nor a change of rows, or reaches beyond the tables.
        NotReadOnly: it writes, and `write` is False.
    """
    tree = _parsed(sql, _DIALECTS.get(dialect, dialect))
    if not isinstance(tree, (*_READS, *_WRITES)):
        raise StatementRefused(f"{_kind(tree, sql)} is not allowed: {_allowed(write)}")
    writes = False
    for node in tree.walk():
        if isinstance(node, _WRITES):
            writes = True
        elif isinstance(node, exp.Lock):
            writes = True  # it makes others wait until the transaction ends
        elif isinstance(node, _HIDDEN) and not isinstance(node, exp.Query):
            raise StatementRefused(f"{type(node).__name__.upper()} is not allowed in a statement")
        elif isinstance(node, exp.Func) and _reaches_out(_function(node)):
            raise StatementRefused(f"the function {_function(node)} is not allowed")
    if writes and not write:
        raise NotReadOnly(f"the statement writes or locks: {_allowed(write)}")
    return Statement(sql, writes)


def _parsed(sql: str, dialect: str) -> exp.Expr:
    if len(sql) > MAX_STATEMENT_CHARS:
        raise StatementRefused(f"the statement is longer than {MAX_STATEMENT_CHARS} characters")
    found = [mark for mark in _READ_APART if mark in sql]
    if found:
        raise StatementRefused(f"a statement must not contain {found[0]!r}")
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect=dialect) if tree is not None]
    except SqlglotError as error:
        raise SqlSyntaxError(_first_line(error)) from None
    except ValueError:
        raise StatementRefused(f"statements for {dialect} cannot be checked") from None
    except RecursionError:
        raise SqlSyntaxError("the statement is nested too deeply") from None
    if len(trees) != 1:
        count = len(trees) or "no"
        raise NotOneStatement(f"the string holds {count} statements: give exactly one")
    return trees[0]


def _allowed(write: bool) -> str:
    return "use SELECT, INSERT, UPDATE or DELETE" if write else "only SELECT can be used"


def _kind(tree: exp.Expr, sql: str) -> str:
    """How to call a statement: by its first word, if that is one."""
    first = sql.split(maxsplit=1)[0].strip("(;").upper()
    return first if first.isalpha() and len(first) <= 20 else type(tree).__name__.upper()


def _reaches_out(function: str) -> bool:
    return function in _REFUSED_FUNCTIONS or function.startswith(_REFUSED_PREFIXES)


def _function(node: exp.Func) -> str:
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
    return str(name).lower()


def _first_line(error: SqlglotError) -> str:
    # Its other lines quote the statement, with colours for a terminal.
    return str(error).partition("\n")[0].rstrip(". ")
