"""SQLite's time: what asks nobody while it runs, as a sort does, ends in time too."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tool_workers.database.calls import error, rows
from tests.tool_workers.database.shop import Shop
from tool_workers import _database_sqlite

_LONG_S = 30.0


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[sqlite3.Connection]]:
    """`abs` is one instruction of SQLite's that takes very long; the connections that have it."""
    connect, made, over = _database_sqlite.connect, [], threading.Event()

    def slow(value: Any) -> Any:
        over.wait(_LONG_S)
        return value

    def with_it(*given: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*given, **options)
        connection.create_function("abs", 1, slow, deterministic=True)
        made.append(connection)
        return connection

    monkeypatch.setattr(_database_sqlite, "connect", with_it)
    yield made
    over.set()


@pytest.mark.parametrize("sql", ["SELECT abs(1)", "SELECT id FROM orders ORDER BY abs(id)"])
def test_what_cannot_be_interrupted_ends_in_time(
    sqlite_only: Shop, sql: str, endless: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An engine of its own, which is not yet connected.
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", f"0.2{len(sql)}")
    began = time.monotonic()
    assert error(sql).type == "StatementTimeout"
    assert time.monotonic() - began < _LONG_S / 3
    # What still runs keeps its connection for itself.
    assert rows("SELECT 1") == [[1]]
    assert len(endless) == 2


def test_a_connection_that_was_left_is_closed_at_last(
    sqlite_only: Shop, endless: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.23")
    monkeypatch.setattr(f"{__name__}._LONG_S", 1.5)
    assert error("SELECT abs(1)").type == "StatementTimeout"
    [connection] = endless
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            connection.total_changes  # noqa: B018
        except sqlite3.ProgrammingError:
            return
        time.sleep(0.05)
    pytest.fail("it is still open")
