"""As whom the tool works: mighty users are refused, roles are taken on, sessions are ours."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import make_url

from sgl_conveyor.describe import describe
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.messages import WorkerConfig
from sgl_conveyor.testing import run_tool
from tests.tool_workers.database.calls import error, rows, run, text_of
from tests.tool_workers.database.shop import Shop
from tool_workers._database_mariadb import _excess
from tool_workers.database import Database

#: What a user gets beyond the guide's, and what the refusal names.
POSTGRESQL = {
    "ALTER ROLE {user} SUPERUSER": "may do more",
    "ALTER ROLE {user} CREATEROLE": "may do more",
    "ALTER ROLE {user} CREATEDB": "may do more",
    "ALTER ROLE {user} REPLICATION": "may do more",
    "ALTER ROLE {user} BYPASSRLS": "may do more",
    "GRANT pg_read_server_files TO {user}": "pg_read_server_files",
    "GRANT pg_execute_server_program TO {user}": "pg_execute_server_program",
    "GRANT pg_read_all_data TO {user}": "pg_read_all_data",
    "GRANT owner TO {user}": "owner",
    "ALTER DATABASE shop OWNER TO {user}": "pg_database_owner",
}
MARIADB = {
    "GRANT FILE ON *.* TO {user}": "FILE",
    "GRANT PROCESS ON *.* TO {user}": "PROCESS",
    "GRANT SUPER ON *.* TO {user}": "SUPER",
    "GRANT SELECT ON *.* TO {user}": "SELECT on *.*",
    "GRANT SELECT ON mysql.* TO {user}": "SELECT on `mysql`",
    "GRANT SELECT ON mysql.user TO {user}": "SELECT on `mysql`",
    "GRANT SELECT ON `%`.* TO {user}": "SELECT on `%`",
    "GRANT ALL ON shop.* TO {user}": "ALL PRIVILEGES",
    "GRANT CREATE TEMPORARY TABLES ON shop.* TO {user}": "CREATE TEMPORARY TABLES",
    "GRANT EXECUTE ON FUNCTION shop.total TO {user}": "EXECUTE",
    "GRANT SELECT ON shop.* TO {user} WITH GRANT OPTION": "GRANT OPTION",
}


@contextmanager
def another(shop: Shop, *statements: str) -> Iterator[str]:
    """The URL of a user who has what the statements give."""
    name = f"other_{os.urandom(4).hex()}"
    user = name if shop.kind == "postgresql" else f"'{name}'@'127.0.0.1'"
    password = "LOGIN PASSWORD" if shop.kind == "postgresql" else "IDENTIFIED BY"
    shop.run(f"CREATE {'ROLE' if shop.kind == 'postgresql' else 'USER'} {user} {password} 'a'")
    try:
        for statement in statements:
            shop.run(statement.format(user=user))
        url = make_url(shop.reader).set(username=name, password="a")
        yield url.render_as_string(hide_password=False)
    finally:
        if shop.kind == "postgresql":
            shop.run("ALTER DATABASE shop OWNER TO owner", f"ALTER ROLE {name} NOLOGIN NOSUPERUSER")
        else:
            shop.run(f"DROP USER {user}")


@pytest.mark.parametrize("statement", POSTGRESQL)
def test_a_mighty_role_of_postgresql_is_refused(
    postgresql_only: Shop, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another(postgresql_only, statement) as url:
        _is_refused(url, POSTGRESQL[statement], monkeypatch)


@pytest.mark.parametrize("statement", MARIADB)
def test_a_mighty_user_of_mariadb_is_refused(
    mariadb_only: Shop, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with another(mariadb_only, "GRANT SELECT ON shop.* TO {user}", statement) as url:
        _is_refused(url, MARIADB[statement], monkeypatch)


def test_who_owns_everything_is_refused(server: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    _is_refused(server.owner, "docs/databases.md", monkeypatch)


def _is_refused(url: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", url)
    with pytest.raises(ConfigurationError) as refusal:
        Database.start()
    assert named in str(refusal.value)
    assert "docs/databases.md" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert error("SELECT 1").type == "DatabaseRefused"


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*00'",
        "GRANT SELECT (`id`, `name`), INSERT ON `shop`.`customers` TO `a`@`%`",
        "GRANT SELECT, INSERT, UPDATE, DELETE, SHOW VIEW ON `shop`.* TO `a`@`%`",
        "GRANT SELECT (`a) ON ``b`) ON `my shop`.`an ON order` TO `a b`@`%` REQUIRE SSL",
        "GRANT SELECT ON `my\\_shop`.* TO `reader`",
        "GRANT `reader` TO `a`@`%`",
        "SET DEFAULT ROLE `reader` FOR `a`@`%`",
    ],
)
def test_what_a_user_needs_is_no_excess(grant: str) -> None:
    assert _excess(grant) is None


def test_a_role_is_taken_on(server: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    if server.kind == "postgresql":
        role, statements = "conveyor_reader", ["GRANT conveyor_reader TO {user}",
                                               "ALTER ROLE {user} NOINHERIT"]  # fmt: skip
    else:
        role = "shop_role"
        server.run("CREATE OR REPLACE ROLE shop_role", "GRANT SELECT ON shop.* TO shop_role")
        statements = ["GRANT shop_role TO {user}", "GRANT USAGE ON shop.* TO {user}"]
    with another(server, *statements) as url:
        if server.kind == "mariadb":
            # Who has nothing there cannot connect to a database before he has his role.
            url = make_url(url).set(database="").render_as_string(hide_password=False)
        monkeypatch.setenv("DATABASE_TOOL_URL", url)
        assert error("SELECT COUNT(*) FROM shop.orders").type in {
            "StatementRefused", "StatementFailed"
        }  # fmt: skip
        monkeypatch.setenv("DATABASE_TOOL_ROLE", role)
        schema = "shop" if server.kind == "mariadb" else "public"
        assert rows(f"SELECT COUNT(*) FROM {schema}.orders") == [[60_000]]
        monkeypatch.setenv("DATABASE_TOOL_ROLE", 'no"such`role')
        assert error("SELECT 1").type == "DatabaseUnavailable"


@pytest.mark.usefixtures("unguarded")
def test_sessions_read_as_the_guard_does(server: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "7.5")
    if server.kind == "postgresql":
        names = ("transaction_read_only", "standard_conforming_strings", "statement_timeout",
                 "lock_timeout", "search_path")  # fmt: skip
        query = f"SELECT {', '.join(f'current_setting({name!r})' for name in names)}"
        path = '"pg_catalog", "public", "pg_temp"'
        assert rows(query) == [["on", "on", "7500ms", "7500ms", path]]
    else:
        query = "SELECT @@tx_read_only, @@max_statement_time, @@sql_mode LIKE '%QUOTES%'"
        assert rows(query) == [[1, 7.5, 0]]


def test_a_function_behind_a_dot_is_one_of_the_list(postgresql_only: Shop) -> None:
    """Why names behind a dot are looked at: PostgreSQL calls a function for them."""
    assert rows("SELECT f.lower FROM unnest(ARRAY['A']) f") == [["a"]]
    # A column, though there is a function `name`.
    assert rows("SELECT c.name FROM customers c WHERE c.id = 1")
    assert error("SELECT f.quote_nullable, f.version FROM customers f").type == "StatementRefused"


def test_a_server_that_stops_does_not_keep_a_call(
    server: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.4")
    stopped: list[int] = []

    class Stops(Database):
        def on_argument(self, path: str, value: Any) -> None:
            if path == "statements[1]":
                stopped.append(_process(server))
                os.kill(stopped[0], signal.SIGSTOP)
            super().on_argument(path, value)

    try:
        result = run_tool(Stops, text_of("SELECT 1", "SELECT 2")).result
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert result.error is not None
    assert result.error.type == "StatementTimeout"
    assert run("SELECT 1").error is None


def _process(server: Shop) -> int:
    """MariaDB's, or the one of PostgreSQL that serves the transaction which is open."""
    if server.kind == "mariadb":
        [(path,)] = server.run("SELECT @@pid_file")
        return int(Path(path).read_text())
    [(pid,)] = server.run(
        "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' "
        "AND usename = 'conveyor_reader'"
    )
    return int(pid)


def test_a_worker_that_cannot_serve_ends_with_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", "oracle://host/x")
    ours, its = socket.socketpair()
    with ours, its:
        config = WorkerConfig(
            spec=describe(Database), channel=its.fileno(), parent=os.getpid(), sandboxed=False,
            syscall_filter=None, once=False,
        )  # fmt: skip
        worker = subprocess.run(
            [sys.executable, "-m", "sgl_conveyor.worker", "--serve", "database"],
            input=msgspec.json.encode(config), pass_fds=[its.fileno()], capture_output=True,
            timeout=60,
        )  # fmt: skip
    assert worker.returncode == 2
    [line] = worker.stderr.decode().splitlines()
    assert line.startswith("the tool 'database' cannot be served: DATABASE_TOOL_URL begins with")
