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

#: The lines of SHOW GRANTS, word for word: any other line may give anything.
_NAME = r"`(?:[^`]|``)*`"
_WHO = rf"(?:{_NAME}|'[^']*')(?:@(?:{_NAME}|'[^']*'))?"
_PRIVILEGE = rf"[A-Z]+(?: [A-Z]+)*(?: \((?:{_NAME}|\w+)(?:, (?:{_NAME}|\w+))*\))?"
_GRANT = re.compile(
    rf"GRANT ({_PRIVILEGE}(?:, {_PRIVILEGE})*) "
    rf"ON (?:(?:FUNCTION|PROCEDURE|PACKAGE|PACKAGE BODY) )?((\*|{_NAME})\.(?:\*|{_NAME})) "
    rf"TO {_WHO}( .*)?",
    re.DOTALL,
)
#: A role, which gives nothing until it is active: what it gives then is listed too.
_ROLE = re.compile(
    rf"GRANT {_NAME} TO {_WHO}|SET DEFAULT ROLE (?:{_NAME}|NONE)(?: FOR {_WHO})?", re.DOTALL
)
_ALLOWED = {"SELECT", "INSERT", "UPDATE", "DELETE", "SHOW VIEW"}
_OWN_SCHEMAS = {"mysql", "performance_schema", "sys", "information_schema"}
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
        # What fails here is closed by SQLAlchemy, which complains if it is closed already.
        if "MariaDB" not in driver.get_server_info():
            raise DatabaseRefused(
                "the server that DATABASE_TOOL_URL names is MySQL, on which this tool was "
                "never tried: use MariaDB"
            )
        with driver.cursor() as cursor:
            self._set_up(cursor)

    def _set_up(self, cursor: Any) -> None:
        if self._target.role is not None:
            name = self._target.role.replace("`", "``")
            cursor.execute(f"SET ROLE `{name}`")
        # Before the lines are read, for how names are quoted depends on it.
        cursor.execute("SET SESSION sql_mode = %s", (_SQL_MODE,))
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
    if _ROLE.fullmatch(grant):
        return None
    found = _GRANT.fullmatch(grant)
    if found is None:
        return f"what this tool does not know: {grant[:80]}"
    privileges, where, schema, rest = found.groups()
    if "GRANT OPTION" in (rest or ""):
        return f"GRANT OPTION on {where}"
    names = re.sub(rf"\((?:{_NAME}|[^)`])*\)", "", privileges).split(",")
    given = {name.strip() for name in names} - {"USAGE"}
    if given and _holds_own(schema.strip("`")):
        return f"{min(given)} on {where}"
    beyond = sorted(given - _ALLOWED)
    return f"{beyond[0]} on {where}" if beyond else None


def _holds_own(schema: str) -> bool:
    """Whether a name, in which `_` is any letter but after a backslash, may be a server's own."""
    if schema == "*" or "%" in schema:
        return True
    parts = re.findall(r"\\.|.", schema.lower(), re.DOTALL)
    pattern = "".join("." if part == "_" else re.escape(part[-1]) for part in parts)
    return any(re.fullmatch(pattern, own, re.DOTALL) for own in _OWN_SCHEMAS)
