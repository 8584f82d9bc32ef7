"""One call's transaction: its statements run in it one by one, within limits."""

from __future__ import annotations

import datetime
import json
import math
import sqlite3
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, CursorResult, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from tool_workers import _database_sqlite as sqlite
from tool_workers._database_guard import StatementError, StatementRefused, checked

#: Characters of one value; a longer one is cut, and its result is `truncated`.
MAX_CELL_CHARS = 4_000
#: Bytes of all rows of a call, as JSON.
MAX_RESULT_BYTES = 1024**2
_MAX_MESSAGE_CHARS = 500


class DatabaseUnavailable(Exception):
    """The database cannot be connected to; the worker's stderr says more."""


class StatementFailed(StatementError):
    """The database refused a statement."""


class StatementTimeout(StatementError):
    """A statement ran into its time limit."""


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


@dataclass(frozen=True)
class Target:
    """A database, and how it is used.

    Args:
        url: in SQLAlchemy's form.
        write: whether rows may be changed.
        statement_timeout_s: seconds for one statement.
    """

    url: str
    write: bool
    statement_timeout_s: float


class Transaction:
    """A transaction on the process's own connection, begun at once.

    Args:
        target: the database.
        max_rows: of one query's result.

    Raises:
        DatabaseUnavailable: it cannot be connected to.
    """

    def __init__(self, target: Target, max_rows: int) -> None:
        self._target = target
        self._max_rows = max_rows
        self._room = MAX_RESULT_BYTES
        try:
            self._engine = _engine(target)
            self._connection = self._engine.connect()
            try:
                self._transaction = self._connection.begin()
                for statement in _opening(self._engine, target):
                    self._connection.exec_driver_sql(statement)
            except BaseException:
                self._connection.close()
                raise
        except (SQLAlchemyError, ImportError) as error:
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
        dialect, write = self._engine.dialect.name, self._target.write
        statement = checked(sql, dialect=dialect, write=write)
        options = {
            # A percent sign is none of a driver's marks.
            "no_parameters": True,
            # Rows stay in the database until they are fetched; drivers do this for queries only.
            "stream_results": not statement.writes,
            "max_row_buffer": self._max_rows + 1,
        }
        try:
            with self._guarded():
                result = self._connection.exec_driver_sql(sql, execution_options=options)
                with result:
                    return self._rows(result) if result.returns_rows else Change(result.rowcount)
        except DBAPIError as error:
            raise self._failure(error.orig) from None
        except (SQLAlchemyError, sqlite3.Warning) as error:
            raise StatementFailed(_sentence(error)) from None
        except MemoryError:
            raise StatementFailed("the statement needs too much memory") from None

    def commit(self) -> None:
        """Make what was changed last, and give the connection back.

        Raises:
            StatementFailed: the database refused it; nothing was changed.
        """
        try:
            self._transaction.commit()
        except DBAPIError as error:
            # SQLite keeps the transaction open; it dies with its connection.
            self._connection.invalidate()
            raise StatementFailed(f"the commit failed: {_sentence(error.orig)}") from None
        self._connection.close()

    def rollback(self) -> None:
        """Undo what was changed, and give the connection back."""
        self._connection.close()

    def _guarded(self) -> AbstractContextManager[None]:
        driver = self._connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            return nullcontext()
        limit_s = self._target.statement_timeout_s
        return sqlite.guarded(driver, write=self._target.write, limit_s=limit_s)

    def _rows(self, result: CursorResult[Any]) -> Rows:
        rows: list[list[Any]] = []
        truncated = False
        while (found := result.fetchone()) is not None:
            row = [_plain(value) for value in found]
            self._room -= len(msgspec.json.encode(row))
            if len(rows) == self._max_rows or self._room < 0:
                truncated = True
                break
            cut = [_cut(value) for value in row]
            truncated = truncated or cut != row
            rows.append(cut)
        return Rows(list(result.keys()), rows, truncated)

    def _failure(self, error: BaseException | None) -> StatementError:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_INTERRUPT:
            limit = self._target.statement_timeout_s
            return StatementTimeout(f"it ran longer than {limit:g} s")
        if code == sqlite3.SQLITE_AUTH:
            return StatementRefused("the database does not allow this statement")
        return StatementFailed(_sentence(error))


@cache
def _engine(target: Target) -> Engine:
    """The process's engine: one connection, kept between calls."""
    url = make_url(target.url)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_size=1, max_overflow=0, pool_timeout=5, pool_pre_ping=True)

    def connect() -> sqlite3.Connection:
        return sqlite.connect(
            Path(url.database or ""), write=target.write, wait_s=target.statement_timeout_s
        )

    engine = create_engine(
        "sqlite://",
        creator=connect,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=5,
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # Without this the module begins a transaction only before a change.
        connection.exec_driver_sql("BEGIN")

    return engine


def _opening(engine: Engine, target: Target) -> list[str]:
    """What a server must hear first, so that it enforces the limits too."""
    milliseconds = math.ceil(target.statement_timeout_s * 1000)
    match engine.dialect.name:
        case "postgresql":
            only = [] if target.write else ["SET TRANSACTION READ ONLY"]
            return [*only, f"SET LOCAL statement_timeout = {milliseconds}"]
        case "mysql" | "mariadb":
            only = [] if target.write else ["SET SESSION TRANSACTION READ ONLY"]
            if getattr(engine.dialect, "is_mariadb", False):
                return [*only, f"SET SESSION max_statement_time = {milliseconds / 1000}"]
            return [*only, f"SET SESSION max_execution_time = {milliseconds}"]
        case _:
            return []


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
        case list() | dict():
            return json.dumps(value, default=str, ensure_ascii=False)
        case _:
            return str(value)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_CELL_CHARS:
        return value[:MAX_CELL_CHARS] + "…"
    return value


def _sentence(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_MAX_MESSAGE_CHARS]
