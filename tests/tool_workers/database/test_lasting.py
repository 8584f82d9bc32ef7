"""Tables whose changes last at once: nothing that a statement may say has them written."""

from __future__ import annotations

import pytest

from tests.tool_workers.database.calls import error, run
from tests.tool_workers.database.shop import Shop


@pytest.fixture
def log(mariadb_only: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A table `log` that cannot be undone, beside `undone`, which can."""
    monkeypatch.setenv("DATABASE_TOOL_URL", mariadb_only.writer)
    monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
    mariadb_only.run(
        "CREATE OR REPLACE TABLE log (a INTEGER) ENGINE MyISAM",
        "INSERT INTO log VALUES (5)",
        "CREATE OR REPLACE TABLE undone (a INTEGER) ENGINE InnoDB",
    )
    return mariadb_only


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO log WITH log AS (SELECT 1 AS a) SELECT a FROM log",
        "INSERT INTO log (a) (WITH log AS (SELECT 1 AS a) SELECT a FROM log)",
        "DELETE FROM log WHERE a IN (WITH log AS (SELECT 5 AS a) SELECT a FROM log)",
        "UPDATE log SET a = 1 WHERE a IN (WITH log AS (SELECT 5 AS a) SELECT a FROM log)",
        "UPDATE log JOIN (WITH log AS (SELECT 5 AS a) SELECT a FROM log) d ON d.a = log.a "
        "SET log.a = 1",
        "DELETE log FROM log JOIN (WITH log AS (SELECT 5 AS a) SELECT a FROM log) d ON d.a = log.a",
        "WITH log AS (SELECT 5 AS a) DELETE FROM log",
        "WITH log AS (SELECT 5 AS a) UPDATE log SET a = 1",
    ],
)
def test_a_query_with_the_name_of_the_table_hides_it_not(log: Shop, sql: str) -> None:
    found = error(sql, "SELECT nothing")
    assert found.message.startswith("statement 1: ")
    assert found.type in {"StatementRefused", "SqlSyntaxError"}
    assert log.run("SELECT a FROM log") == [(5,)]


def test_a_query_with_a_name_of_its_own_is_no_table(log: Shop) -> None:
    result = run("INSERT INTO undone WITH new AS (SELECT 1 AS a) SELECT a FROM new")
    assert result.error is None, result.error
    assert log.run("SELECT a FROM undone") == [(1,)]
