"""What the tool refuses on each database, and what each database refuses by itself."""

from __future__ import annotations

import pytest

from sgl_conveyor.testing import check_every_cut, run_tool
from tests.tool_workers.database.calls import error, rows, text_of
from tests.tool_workers.database.shop import Shop
from tool_workers.database import Database

#: What is refused while reading only, and the error's type.
REFUSED = {
    "DELETE FROM orders": "NotReadOnly",
    "UPDATE orders SET id = 1": "NotReadOnly",
    "INSERT INTO orders SELECT * FROM orders": "NotReadOnly",
    "WITH a AS (SELECT 1 AS id) DELETE FROM orders WHERE id IN (SELECT id FROM a)": "NotReadOnly",
    "REPLACE INTO orders VALUES (1)": "StatementRefused",
    "SELECT 1; SELECT 2": "NotOneStatement",
    "SELECT 1; DELETE FROM orders": "NotOneStatement",
    "SELECT 1 /* ; */; -- \nSELECT 2": "NotOneStatement",
    "SELECT 1 /* /* */; DELETE FROM orders -- */": "StatementRefused",
    "": "NotOneStatement",
    "-- nothing": "NotOneStatement",
    "SELECT FROM WHERE": "SqlSyntaxError",
    "SELECT 'a": "SqlSyntaxError",
    "SELECT 1 /* a": "SqlSyntaxError",
    "SELECT " + "(" * 500: "SqlSyntaxError",
    "SELECT '" + "a" * 20_000 + "'": "StatementRefused",
    "SELECT 1 /*! INTO OUTFILE 'x' */": "StatementRefused",
    "SELECT nothing FROM orders": "StatementFailed",
    "SELECT ?": "StatementRefused",
}
#: What is refused always, and by each database.
NEVER = [
    "PRAGMA query_only = OFF", "ATTACH 'x.db' AS x", "DETACH main", "VACUUM", "VACUUM INTO 'x.db'",
    "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "CREATE TABLE t (x INT)",
    "CREATE TEMPORARY TABLE t (x INT)", "DROP TABLE orders", "ALTER TABLE orders RENAME TO o",
    "ANALYZE", "REINDEX", "SELECT load_extension('x')", "SELECT * FROM pragma_user_version",
    "nonsense", "TRUNCATE TABLE orders", "COPY orders TO '/tmp/x'", "CALL x()", "DO 1",
    "COPY orders TO PROGRAM 'true'", "GRANT SELECT ON orders TO x", "LOAD DATA INFILE 'x' INTO "
    "TABLE orders", "SELECT * INTO t FROM orders", "PREPARE x FROM 'SELECT 1'", "LOCK TABLE orders",
]  # fmt: skip
#: What some databases would run, or may not know.
NEVER_BY_THE_TOOL = [
    "EXPLAIN SELECT 1", "SELECT printf('%.*c', 2000000000, 'x')",
    "SELECT format('%2000000000d', 1)", "SET ROLE owner", "RESET ROLE", "SHOW TABLES", "USE mysql",
    "SET SESSION max_statement_time = 0", "SET statement_timeout = 0", "LISTEN x", "TABLE orders",
    "SELECT * FROM (TABLE orders) x", "SELECT repeat('x', 1000000000)", "HELP 'x'", "XA RECOVER",
    "SET STATEMENT max_statement_time = 0 FOR SELECT 1", "VALUES (1) INTO @a", "KILL 1",
]  # fmt: skip
#: A query that no one waits for.
ENDLESS = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
    "SELECT COUNT(*) FROM n",
    "postgresql": "SELECT COUNT(*) FROM orders a, orders b, orders c",
    "mariadb": "SELECT COUNT(*) FROM orders a, orders b, orders c WHERE a.status < b.channel",
}


@pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:30])
def test_what_does_not_only_read_is_refused(shop: Shop, sql: str) -> None:
    found = error("SELECT 1", sql)
    assert found.type == REFUSED[sql], found
    assert found.message.startswith("statement 2: ")


@pytest.mark.parametrize("sql", NEVER + NEVER_BY_THE_TOOL)
@pytest.mark.parametrize("write", ["0", "1"])
def test_what_reaches_beyond_rows_is_always_refused(
    shop: Shop, sql: str, write: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_WRITE", write)
    if write == "1":
        monkeypatch.setenv("DATABASE_TOOL_URL", shop.writer)
    expected = {"StatementRefused", "SqlSyntaxError"}
    if "pragma" in sql:
        expected |= {"StatementFailed"}  # servers have no such table
    assert error(sql).type in expected


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("sql", ["DELETE FROM orders", *NEVER])
def test_the_database_refuses_what_the_parser_let_through(shop: Shop, sql: str) -> None:
    before = shop.run("SELECT COUNT(*) FROM orders")
    result = error("SELECT 1", sql, "SELECT nothing")
    assert result.type in {"StatementRefused", "StatementFailed"}
    assert shop.run("SELECT COUNT(*) FROM orders") == before


def test_a_query_without_an_end_is_interrupted(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.2")
    assert error(ENDLESS[shop.kind]).type == "StatementTimeout"
    assert rows("SELECT 1") == [[1]]


def test_a_huge_value_is_an_error(sqlite_only: Shop) -> None:
    assert error("SELECT zeroblob(1000000000)").type == "StatementFailed"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"statements": ["SELECT 1"], "statements": ["SELECT 2"]}', "ArgumentsDiffer"),
        ('{"statements": ["SELECT 1"], "statements": []}', "InvalidArguments"),
        ('{"statements": ["SELECT 1", 2]}', "InvalidArguments"),
        ('{"statements": [["SELECT 1"]]}', "InvalidArguments"),
        ('{"statements": []}', "InvalidArguments"),
        ('{"statements": ["SELECT 1"], "x": {"statements": ["SELECT 2"]}}', "InvalidArguments"),
        ('{"statements": ["SELECT 1"', "InvalidArguments"),
        (text_of(*["SELECT 1"] * 21), "InvalidArguments"),
        ("SELECT 1", "InvalidArguments"),
    ],
    ids=lambda value: value[:40],
)
def test_arguments_that_are_none_are_refused(shop: Shop, text: str, expected: str) -> None:
    if shop.kind == "sqlite":
        result = check_every_cut(Database, text).result
    else:  # each cut is a transaction on a server
        result = run_tool(Database, text, cuts=range(1, len(text), 5)).result
    assert result.error is not None
    assert result.error.type == expected


def test_a_regular_expression_that_cannot_be_interrupted_is_refused(shop: Shop) -> None:
    sql = "SELECT 'a' REGEXP '(a+)+b'"
    assert error(sql).type == (
        "StatementFailed" if shop.kind == "postgresql" else "StatementRefused"
    )
