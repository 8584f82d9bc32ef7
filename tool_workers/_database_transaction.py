"""One call's transaction: its statements run in it one by one, within limits."""

from __future__ import annotations

import datetime
import json
import math
import sqlite3
import sys
from collections.abc import Iterable
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from sqlalchemy import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from tool_workers._database_errors import DatabaseRefused, DatabaseUnavailable, StatementFailed
from tool_workers._database_guard import Statement, checked
from tool_workers._database_server import Server, Target, whole
from tool_workers._database_sqlite import Sqlite

#: Characters of one value; a longer one is cut, and its result is `truncated`.
MAX_CELL_CHARS = 4_000
#: Bytes of all rows of a call, as JSON.
MAX_RESULT_BYTES = 1024**2
_MAX_MESSAGE_CHARS = 500


class Rows(msgspec.Struct, frozen=True):
    """What a query gave.

    Args:
        columns: their names.
        rows: a list of values each.
        truncated: whether rows, or parts of values, were left out.
    """

    columns: list[str]
    rows: list[list[Any]]
    truncated: bool


class Change(msgspec.Struct, frozen=True):
    """What a change came to."""

    rows_affected: int


class Transaction:
    """A transaction on the process's own connection, begun at once.

    Args:
        target: the database.

    Raises:
        DatabaseRefused: it is none that is served, or we may do too much in it.
        DatabaseUnavailable: it cannot be connected to.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._room = MAX_RESULT_BYTES
        try:
            self._server, engine = _opened(target)
            self._connection = engine.connect()
            try:
                self._transaction = self._connection.begin()
            except BaseException:
                self._connection.close()
                raise
        except SQLAlchemyError as error:
            # It may name hosts and users, which the model need not know.
            print(f"the database cannot be used: {error}", file=sys.stderr)
            raise DatabaseUnavailable(
                f"the database cannot be connected to ({type(error).__name__})"
            ) from None

    def run(self, sql: str) -> Rows | Change:
        """Run one statement.

        Raises:
            StatementError: one of its kinds says why it was refused or failed.
        """
        server, connection = self._server, self._connection
        statement = checked(
            sql, dialect=server.dialect, write=self._target.write, known=server.known()
        )
        try:
            return server.in_time(connection, lambda: self._ran(statement))
        except DBAPIError as error:
            known = server.failure(error.orig)
            raise known or StatementFailed(_sentence(error.orig)) from None
        except (SQLAlchemyError, sqlite3.Warning) as error:
            raise StatementFailed(_sentence(error)) from None
        except MemoryError:
            raise StatementFailed("the statement needs too much memory") from None

    def commit(self) -> None:
        """Make what was changed last, if anything may be, and give the connection back.

        Raises:
            StatementFailed: the database refused it; nothing was changed.
        """
        if not self._target.write:
            # Not all that a read-only transaction lets through is undone by its end.
            self.rollback()
            return
        try:
            with self._server.committing(self._connection):
                self._transaction.commit()
        except SQLAlchemyError as error:
            # SQLite keeps the transaction open; it dies with its connection.
            self._connection.invalidate()
            raise StatementFailed(f"the commit failed: {_sentence(_cause(error))}") from None
        self._connection.close()

    def rollback(self) -> None:
        """Undo what was changed, and give the connection back."""
        self._connection.close()

    def _ran(self, statement: Statement) -> Rows | Change:
        server, connection = self._server, self._connection
        if statement.writes:
            server.check(connection, statement)
        with server.answer(connection, statement) as answer:
            if answer.columns is None:
                return Change(answer.affected)
            return self._rows(answer.columns, answer.rows)

    def _rows(self, columns: list[str], found: Iterable[Any]) -> Rows:
        rows: list[list[Any]] = []
        truncated = False
        for values in found:
            row = [_plain(value) for value in values]
            self._room -= len(msgspec.json.encode(row))
            if len(rows) == self._target.max_rows or self._room < 0:
                truncated = True
                break
            cut = [_cut(value) for value in row]
            truncated = truncated or cut != row
            rows.append(cut)
        return Rows(columns, rows, truncated)


def server_of(target: Target) -> Server:
    """The kind of database that a URL names; nothing is connected.

    Raises:
        DatabaseRefused: it is none that is served.
    """
    try:
        url = make_url(target.url)
    except ArgumentError:
        raise DatabaseRefused(
            "DATABASE_TOOL_URL is no URL in SQLAlchemy's form: write sqlite:///file, "
            "postgresql://user@host/name or mariadb://user@host/name"
        ) from None
    match url.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return Sqlite(url, target)
        case "postgresql" | "postgresql+psycopg":
            # Only who has such a server pays for the import of its driver.
            from tool_workers._database_postgresql import PostgreSQL

            return PostgreSQL(url, target)
        case "mariadb" | "mariadb+pymysql" | "mysql" | "mysql+pymysql":
            from tool_workers._database_mariadb import MariaDB

            return MariaDB(url, target)
        case other:
            raise DatabaseRefused(
                f"DATABASE_TOOL_URL begins with {other[:40]!r}, which is not served: write sqlite, "
                "postgresql or mariadb, without the name of another driver"
            )


@cache
def _opened(target: Target) -> tuple[Server, Engine]:
    """The process's engine: one connection, kept between calls."""
    server = server_of(target)
    return server, server.engine()


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: what has no counterpart there becomes text."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case list() | dict() | tuple():
            return json.dumps(value, default=str, ensure_ascii=False)
        case Decimal() if value.is_finite() and value.as_tuple().exponent == 0:
            return whole(value, len(value.as_tuple().digits))
        case _:
            return str(value)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CELL_CHARS:
        return value[:MAX_CELL_CHARS] + "…"
    return value


def _cause(error: SQLAlchemyError) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _sentence(error: BaseException | None) -> str:
    # PyMySQL's errors are pairs of a number and a text.
    words = error.args[-1] if error is not None and error.args else error
    lines = str(words).strip().splitlines() or [type(error).__name__]
    return lines[0][:_MAX_MESSAGE_CHARS]
