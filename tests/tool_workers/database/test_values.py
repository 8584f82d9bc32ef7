"""Values that a result cannot hold as they are."""

from __future__ import annotations

from tests.tool_workers.database.calls import rows
from tests.tool_workers.database.shop import Shop


def test_a_very_long_integer_is_a_text(postgresql_only: Shop) -> None:
    [[value]] = rows("SELECT sum(factorial(3000)) FROM generate_series(1, 100)")
    assert isinstance(value, str)
    assert value.startswith("4149")
    assert rows("SELECT factorial(20)") == [[2432902008176640000]]


def test_a_very_long_integer_within_a_value_is_none_either(postgresql_only: Shop) -> None:
    for sql in (
        "SELECT to_jsonb(factorial(3000))",
        "SELECT json_build_array(factorial(3000))",
        "SELECT array_agg(factorial(3000))",
    ):
        [[value]] = rows(sql)
        assert "414935960" in value[:30], sql
    assert rows("SELECT json_build_array(1, 2)") == [["[1, 2]"]]
