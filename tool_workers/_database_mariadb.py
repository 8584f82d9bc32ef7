"""MariaDB: its sessions only read unless told otherwise, keep time, and have few privileges."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from tool_workers._database_errors import (
    DatabaseRefused,
    StatementError,
    StatementRefused,
    StatementTimeout,
)
from tool_workers._database_guard import NOTHING, Known, Statement
from tool_workers._database_server import (
    CONNECT_LIMIT_S,
    IDLE_LIMIT_S,
    Answer,
    T,
    Target,
    cut_late,
    streamed,
)

_GRANT = re.compile(r"GRANT (.+?) ON (?:(?:FUNCTION|PROCEDURE|PACKAGE(?: BODY)?) )?(\S+) TO ")
_ALLOWED = {"SELECT", "INSERT", "UPDATE", "DELETE", "SHOW VIEW"}
_OWN_SCHEMAS = {"mysql", "performance_schema", "sys", "information_schema", "*"}
_INNODB = """
    SELECT 1 FROM information_schema.tables
    WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s
        AND table_type = 'BASE TABLE' AND engine = 'InnoDB'
"""
#: As the guard reads texts: a double quote is a text's, `||` is OR, a backslash keeps what follows.
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_TIMEOUT, _READ_ONLY = {1969, 3024}, {1792}
_NO_PRIVILEGE = {1044, 1142, 1143, 1227, 1290, 1370}


class MariaDB:
    """A MariaDB server."""

    dialect = "mysql"

    def __init__(self, url: URL, target: Target) -> None:
        self._url = url.set(drivername="mariadb+pymysql")
        self._target = target

    def engine(self) -> Engine:
        engine = create_engine(
            self._url,
            pool_size=1, max_overflow=0, pool_timeout=5, pool_pre_ping=True,
            connect_args={"connect_timeout": CONNECT_LIMIT_S},
        )  # fmt: skip
        event.listen(engine, "connect", self._connected)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            mode = "WRITE" if self._target.write else "ONLY"
            connection.exec_driver_sql(f"START TRANSACTION READ {mode}")

        return engine

    def known(self) -> Known:
        return NOTHING

    def in_time(self, connection: Connection, work: Callable[[], T]) -> T:
        with self.committing(connection):
            return work()

    def committing(self, connection: Connection) -> AbstractContextManager[None]:
        # It waits for other writers too.
        driver: Any = connection.connection.driver_connection
        return cut_late(connection, driver._sock.fileno(), self._target.statement_timeout_s)

    def check(self, connection: Connection, statement: Statement) -> None:
        for schema, name in sorted(statement.tables, key=str):
            if connection.exec_driver_sql(_INNODB, (schema, name)).first() is None:
                raise StatementRefused(
                    f"{name} is no table of the engine InnoDB: a change of it could not be undone"
                )

    def answer(
        self, connection: Connection, statement: Statement
    ) -> AbstractContextManager[Answer]:
        return streamed(connection, statement, self._target)

    def failure(self, error: BaseException | None) -> StatementError | None:
        code = next(iter(getattr(error, "args", ())), None)
        if code in _TIMEOUT:
            limit_s = self._target.statement_timeout_s
            return StatementTimeout(f"it ran longer than {limit_s:g} s")
        if code in _READ_ONLY or code in _NO_PRIVILEGE:
            return StatementRefused("the database does not allow this statement")
        return None

    def _connected(self, driver: Any, _record: object) -> None:
        try:
            if "MariaDB" not in driver.get_server_info():
                raise DatabaseRefused(
                    "the server that DATABASE_TOOL_URL names is MySQL, on which this tool was "
                    "never tried: use MariaDB"
                )
            with driver.cursor() as cursor:
                self._set_up(cursor)
        except BaseException:
            driver.close()
            raise

    def _set_up(self, cursor: Any) -> None:
        if self._target.role is not None:
            name = self._target.role.replace("`", "``")
            cursor.execute(f"SET ROLE `{name}`")
        cursor.execute("SHOW GRANTS")
        for (grant,) in cursor.fetchall():
            excess = _excess(grant)
            if excess is not None:
                raise DatabaseRefused(
                    f"the user of DATABASE_TOOL_URL may do more than read and write rows: it has "
                    f"{excess}; use a user as docs/databases.md makes it"
                )
        limit_s = self._target.statement_timeout_s
        for name, value in {
            "sql_mode": _SQL_MODE,
            "max_statement_time": limit_s,
            "innodb_lock_wait_timeout": math.ceil(limit_s),
            "idle_transaction_timeout": IDLE_LIMIT_S,
            "sql_select_limit": self._target.max_rows + 1,
        }.items():
            cursor.execute(f"SET SESSION {name} = %s", (value,))
        mode = "WRITE" if self._target.write else "ONLY"
        cursor.execute(f"SET SESSION TRANSACTION READ {mode}")


def _excess(grant: str) -> str | None:
    """What a line of SHOW GRANTS gives beyond rows of tables, or None."""
    found = _GRANT.match(grant)
    if found is None:
        # A role that is granted, or the one to begin with: what an active one gives is listed too.
        return None
    given = {name.strip() for name in re.sub(r"\([^)]*\)", "", found[1]).split(",")} - {"USAGE"}
    if given and grant.endswith("WITH GRANT OPTION"):
        return f"GRANT OPTION on {found[2]}"
    schema = found[2].partition(".")[0].strip("`").lower()
    if given and (schema in _OWN_SCHEMAS or "%" in schema):
        return f"{min(given)} on {found[2]}"
    beyond = sorted(given - _ALLOWED)
    return f"{beyond[0]} on {found[2]}" if beyond else None
