"""Code of users that PostgreSQL runs without a name in the statement: operators and casts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sgl_conveyor.errors import ConfigurationError
from tests.tool_workers.database.calls import error, rows
from tests.tool_workers.database.shop import Shop
from tool_workers.database import Database


@pytest.fixture
def operators(postgresql_only: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Operators with a user's function, which all may call: a new one, and two with known names."""
    # An engine of its own, which is not yet connected; the reader has few connections.
    monkeypatch.setenv("DATABASE_TOOL_URL", postgresql_only.writer)
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "57")
    code = "LANGUAGE plpgsql AS 'BEGIN RAISE division_by_zero; END'"
    postgresql_only.run(
        f"CREATE FUNCTION ran(int, int) RETURNS bool {code}",
        f"CREATE FUNCTION ran(text, int) RETURNS bool {code}",
        "GRANT EXECUTE ON FUNCTION ran(int, int), ran(text, int) TO PUBLIC",
        "CREATE OPERATOR public.<=> (leftarg = int, rightarg = int, function = ran)",
        "CREATE OPERATOR public.= (leftarg = text, rightarg = int, function = ran)",
        "CREATE OPERATOR public.~~ (leftarg = text, rightarg = int, function = ran)",
    )
    yield
    postgresql_only.run("DROP FUNCTION ran(int, int), ran(text, int) CASCADE")


@pytest.mark.usefixtures("operators")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 <=> 2",
        "SELECT 1<=>-2",
        "SELECT name = 1 FROM customers",
        "SELECT name=-1 FROM customers",
        "SELECT name IN (1) FROM customers",
        "SELECT CASE name WHEN 1 THEN 2 END FROM customers",
        "SELECT name LIKE 1 FROM customers",
        "SELECT name IS DISTINCT FROM 1 FROM customers",
        "SELECT NULLIF(name, 1) FROM customers",
    ],
)
def test_a_users_operator_is_refused(sql: str) -> None:
    found = error(sql)
    assert found.type == "StatementRefused", found
    assert "perator" in found.message, found


@pytest.mark.usefixtures("operators")
def test_other_operators_are_not() -> None:
    assert rows("SELECT 1 + 2 * 3, 1 < 2, 'a' || 'b', 3 <= 4, 1 <> 2") == [
        [7, True, "ab", True, True]
    ]


def test_a_users_cast_that_may_run_is_refused(
    postgresql_only: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", postgresql_only.writer)
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "56")
    postgresql_only.run(
        "CREATE FUNCTION told(orders) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$",
        "CREATE CAST (orders AS text) WITH FUNCTION told(orders) AS IMPLICIT",
    )
    try:
        # Nobody was granted it: it is the server that refuses.
        assert rows("SELECT 1") == [[1]]
        assert error("SELECT 'a' || o::text FROM orders o").type == "StatementRefused"
        postgresql_only.run("GRANT EXECUTE ON FUNCTION told(orders) TO PUBLIC")
        monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "55")
        with pytest.raises(ConfigurationError, match=r"told\(.*revoke EXECUTE"):
            Database.start()
    finally:
        postgresql_only.run("DROP FUNCTION told(orders) CASCADE")
