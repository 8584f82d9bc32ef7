"""What the tool asks of a database, and which ones it knows."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine

from tool_workers._database_errors import StatementError, StatementTimeout
from tool_workers._database_guard import Known, Statement

#: Seconds that a server gets beyond the limit of a statement, which it keeps by itself: then the
#: connection is cut.
GRACE_S = 1.0
#: Seconds that a transaction may wait for its next statement: a model may think for long.
IDLE_LIMIT_S = 900
#: Seconds for a connection.
CONNECT_LIMIT_S = 5

#: Digits of an integer that stays a number.
_MAX_DIGITS = 300

T = TypeVar("T")


@dataclass(frozen=True)
class Target:
    """A database, and how it is used.

    Args:
        url: in SQLAlchemy's form.
        write: whether rows may be changed.
        statement_timeout_s: seconds for one statement.
        max_rows: of one query's result.
        role: that is taken on once connected, or None.
    """

    url: str
    write: bool
    statement_timeout_s: float
    max_rows: int
    role: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a database answered, while its rows are still there.

    Args:
        columns: their names; None if there are no rows.
        rows: one after the other.
        affected: rows that were changed.
    """

    columns: list[str] | None
    rows: Iterable[Any]
    affected: int


class Server(Protocol):
    """A kind of database: how it is connected to, and what it enforces by itself."""

    #: By sqlglot's name.
    dialect: str

    def engine(self) -> Engine:
        """One connection, kept between calls; it enforces all that the database can."""

    def known(self) -> Known:
        """What the connected database says of its names."""

    def in_time(self, connection: Connection, work: Callable[[], T]) -> T:
        """Do what uses the connection, and end it in time.

        Raises:
            StatementTimeout: it was ended.
        """

    def committing(self, connection: Connection) -> AbstractContextManager[None]:
        """While entered, a commit is ended in time.

        Raises:
            StatementTimeout: it was.
        """

    def check(self, connection: Connection, statement: Statement) -> None:
        """Ask the database whether a statement that writes could be undone.

        Raises:
            StatementRefused: it could not.
        """

    def answer(
        self, connection: Connection, statement: Statement
    ) -> AbstractContextManager[Answer]:
        """Run a statement."""

    def failure(self, error: BaseException | None) -> StatementError | None:
        """What a driver's error means, or None if only its own words say so."""


def run(connection: Connection, sql: str, **options: Any) -> Any:
    """Run a text as it is: a percent sign is none of a driver's marks."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True, **options})


def whole(value: Any, digits: int) -> int | str:
    """An integer, or its text where Python, and readers of JSON, may refuse its digits."""
    return int(value) if digits <= _MAX_DIGITS else str(value)


@contextmanager
def streamed(connection: Connection, statement: Statement, target: Target) -> Iterator[Answer]:
    """Run a statement; the rows of a query stay in the database until they are fetched."""
    options = {"stream_results": not statement.writes, "max_row_buffer": target.max_rows + 1}
    with run(connection, statement.sql, **options) as result:
        if result.returns_rows:
            yield Answer(list(result.keys()), result, 0)
        else:
            yield Answer(None, (), result.rowcount)


@contextmanager
def cut_late(connection: Connection, descriptor: int, limit_s: float) -> Iterator[None]:
    """While entered, a server that does not end a statement in time loses its connection.

    Args:
        connection: the connection.
        descriptor: its socket.
        limit_s: seconds that the server was given; it gets `GRACE_S` more.

    Raises:
        StatementTimeout: it was cut.
    """
    struck = threading.Event()
    line = socket.socket(fileno=os.dup(descriptor))

    def cut() -> None:
        struck.set()
        line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(limit_s + GRACE_S, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not struck.is_set():
            raise
    finally:
        timer.cancel()
        timer.join()
        line.close()
    if struck.is_set():
        connection.invalidate()
        raise StatementTimeout(f"it ran longer than {limit_s + GRACE_S:g} s, and was cut")
