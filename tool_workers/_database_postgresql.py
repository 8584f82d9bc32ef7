"""PostgreSQL: its sessions only read unless told otherwise, keep time, and are no mighty role's."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, create_engine, event

from tool_workers._database_errors import (
    DatabaseRefused,
    StatementError,
    StatementRefused,
    StatementTimeout,
)
from tool_workers._database_functions import FUNCTIONS
from tool_workers._database_guard import NOTHING, Known, Statement
from tool_workers._database_server import (
    CONNECT_LIMIT_S,
    IDLE_LIMIT_S,
    Answer,
    T,
    Target,
    cut_late,
    run,
    whole,
)

#: Rows that are fetched at first, and at most: few, since each may be large.
_FIRST_FETCH, _LARGEST_FETCH = 1, 64
_MIGHTY = """
    SELECT session_user, rolname FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(session_user, oid, 'MEMBER')
        AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
            OR rolname LIKE 'pg\\_%')
    ORDER BY rolname = session_user DESC, rolsuper DESC, rolname
"""
_FUNCTIONS = """
    SELECT pg_catalog.lower(proname),
        pg_catalog.bool_or(pronamespace <> 'pg_catalog'::regnamespace)
    FROM pg_catalog.pg_proc GROUP BY 1
"""
#: Operators that users made. What a type of an extension means by one of PostgreSQL's own (`=` of
#: `citext`) is its code in C, which only superusers bring, or what PostgreSQL's own call.
_OPERATORS = """
    SELECT DISTINCT oprname FROM pg_catalog.pg_operator o
    JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE oprnamespace <> 'pg_catalog'::regnamespace AND NOT (
        oprname IN (SELECT oprname FROM pg_catalog.pg_operator
            WHERE oprnamespace = 'pg_catalog'::regnamespace)
        AND (lanname = 'c' AND pronamespace <> 'pg_catalog'::regnamespace
            OR oprcode IN (SELECT oprcode FROM pg_catalog.pg_operator
                WHERE oprnamespace = 'pg_catalog'::regnamespace)))
"""
#: Casts by users' functions that we may call: no statement's text shows where one is used.
_CASTS = """
    SELECT castfunc::regprocedure::text FROM pg_catalog.pg_cast c
    JOIN pg_catalog.pg_proc p ON p.oid = c.castfunc
    JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE c.oid >= 16384 AND lanname <> 'c'
        AND (pronamespace <> 'pg_catalog'::regnamespace OR castfunc NOT IN (
            SELECT castfunc FROM pg_catalog.pg_cast WHERE oid < 16384))
        AND pg_catalog.has_function_privilege(castfunc, 'EXECUTE')
    ORDER BY 1
"""
_COLUMNS = """
    SELECT DISTINCT pg_catalog.lower(attname)
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'v', 'm', 'p', 'f')
        AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""


class _State(StrEnum):
    CANCELLED = "57014"
    READ_ONLY = "25006"
    NO_PRIVILEGE = "42501"


class PostgreSQL:
    """A PostgreSQL server."""

    dialect = "postgres"

    def __init__(self, url: URL, target: Target) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._target = target
        self._known = NOTHING
        self._cursors = itertools.count(1)

    def engine(self) -> Engine:
        engine = create_engine(
            self._url,
            pool_size=1, max_overflow=0, pool_timeout=5, pool_pre_ping=True,
            use_native_hstore=False, json_deserializer=_read_json,
            connect_args={"connect_timeout": CONNECT_LIMIT_S, "application_name": "sgl-conveyor"},
        )  # fmt: skip
        event.listen(engine, "connect", self._connected)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            mode = "WRITE" if self._target.write else "ONLY"
            connection.exec_driver_sql(f"SET TRANSACTION READ {mode}")

        return engine

    def known(self) -> Known:
        return self._known

    def in_time(self, connection: Connection, work: Callable[[], T]) -> T:
        with self.committing(connection):
            return work()

    def committing(self, connection: Connection) -> AbstractContextManager[None]:
        # It waits for other writers too.
        return cut_late(connection, _driver(connection).fileno(), self._target.statement_timeout_s)

    def check(self, connection: Connection, statement: Statement) -> None:
        """Whatever PostgreSQL's tables hold can be undone."""

    @contextmanager
    def answer(self, connection: Connection, statement: Statement) -> Iterator[Answer]:
        if statement.writes:
            with _alone(connection):
                result = run(connection, statement.sql)
            with result:
                if result.returns_rows:
                    yield Answer(list(result.keys()), result, 0)
                else:
                    yield Answer(None, (), result.rowcount)
            return
        # A cursor is for queries only, says the server, and a huge result stays there.
        cursor = f"conveyor_{next(self._cursors)}"
        with _alone(connection):
            run(connection, f"DECLARE {cursor} NO SCROLL CURSOR FOR {statement.sql}")
        first = run(connection, f"FETCH FORWARD {_FIRST_FETCH} FROM {cursor}")
        columns = list(first.keys())
        yield Answer(columns, self._fetched(connection, cursor, first), 0)
        run(connection, f"CLOSE {cursor}")

    def failure(self, error: BaseException | None) -> StatementError | None:
        match getattr(error, "sqlstate", None):
            case _State.CANCELLED:
                limit_s = self._target.statement_timeout_s
                return StatementTimeout(f"it ran longer than {limit_s:g} s")
            case _State.READ_ONLY | _State.NO_PRIVILEGE:
                return StatementRefused("the database does not allow this statement")
            case _:
                return None

    def _fetched(self, connection: Connection, cursor: str, first: Any) -> Iterator[Any]:
        count, rows = _FIRST_FETCH, first.fetchall()
        while True:
            yield from rows
            if len(rows) < count:
                return
            count = min(2 * count, _LARGEST_FETCH)
            rows = run(connection, f"FETCH FORWARD {count} FROM {cursor}").fetchall()

    def _connected(self, driver: Any, _record: object) -> None:
        # What fails here is closed by SQLAlchemy.
        driver.autocommit = True
        self._set_up(driver)
        driver.autocommit = False

    def _set_up(self, driver: psycopg.Connection[Any]) -> None:
        if self._target.role is not None:
            driver.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self._target.role)))
        mighty = driver.execute(_MIGHTY).fetchone()
        if mighty is not None:
            who, role = mighty
            what = "is one" if who == role else f"is a member of {role!r}, which is one"
            raise DatabaseRefused(
                f"the role {who!r} of DATABASE_TOOL_URL may do more than read and write rows: it "
                f"{what} of superusers, database owners or PostgreSQL's own roles; use a role as "
                "docs/databases.md makes it"
            )
        cast = driver.execute(_CASTS).fetchone()
        if cast is not None:
            raise DatabaseRefused(
                f"the role of DATABASE_TOOL_URL may call {cast[0]}, with which a cast runs a "
                "user's code unseen: revoke EXECUTE on it, as docs/databases.md does"
            )
        milliseconds = str(math.ceil(self._target.statement_timeout_s * 1000))
        [path] = driver.execute("SELECT pg_catalog.current_schemas(false)").fetchone() or [[]]
        # The server's functions come first, so that no user's takes the place of one.
        schemas = ["pg_catalog", *(name for name in path if name != "pg_catalog"), "pg_temp"]
        for name, value in {
            "default_transaction_read_only": "off" if self._target.write else "on",
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": f"{IDLE_LIMIT_S}s",
            "search_path": ", ".join('"' + name.replace('"', '""') + '"' for name in schemas),
            # As the guard reads texts.
            "standard_conforming_strings": "on",
            "client_encoding": "UTF8",
            "datestyle": "ISO",
            "cursor_tuple_fraction": "1",
        }.items():
            driver.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        self._known = _known(driver)
        driver.prepare_threshold = None
        driver.prepared_max = 1


def _read_json(text: str | bytes) -> Any:
    # Python refuses to read very long integers.
    return json.loads(text, parse_int=lambda digits: whole(digits, len(digits)))


def _known(driver: psycopg.Connection[Any]) -> Known:
    functions = dict(driver.execute(_FUNCTIONS).fetchall())
    foreign = frozenset(name for name, is_foreign in functions.items() if is_foreign)
    columns = {name for (name,) in driver.execute(_COLUMNS).fetchall()}
    own = functions.keys() - foreign - FUNCTIONS["postgres"]
    operators = frozenset(name for (name,) in driver.execute(_OPERATORS).fetchall())
    return Known(foreign, frozenset(own - columns) | foreign, operators)


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """While entered, the server takes exactly one statement in a text: it prepares each."""
    driver = _driver(connection)
    driver.prepare_threshold = 0
    try:
        yield
    finally:
        driver.prepare_threshold = None
