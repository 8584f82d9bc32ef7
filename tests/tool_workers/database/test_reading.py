"""What the database tool returns, from each of the databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.pool import Pool

from sgl_conveyor.testing import check_every_cut, cuts, run_tool
from tests.tool_workers.database.calls import error, rows, run, text_of
from tests.tool_workers.database.shop import Shop
from tool_workers._database_transaction import MAX_CELL_CHARS, MAX_RESULT_BYTES
from tool_workers.database import Database

RECORDED = Path(__file__).parents[3] / "bench" / "recorded" / "database.json"
#: What the recorded statements take from SQLite: its functions, and subqueries without a name.
SQLITES_OWN = ("strftime", "julianday", "HAVING orders", "FROM (SELECT")
#: A query that gives one row after the other, for longer than anyone waits.
LONG = {
    "sqlite": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
    "postgresql": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
    "mariadb": "SELECT a.id - a.id + 1 FROM orders a, orders b, orders c",
}
#: The names of all customers as one text, longer than a value may be.
NAMES = {
    "sqlite": "group_concat(name, ',')",
    "postgresql": "string_agg(name, ',')",
    "mariadb": "group_concat(name)",
}


def quoted(kind: str, word: str) -> str:
    """A text as a literal."""
    if kind == "mariadb":
        word = word.replace("\\", "\\\\")
    return "'" + word.replace("'", "''") + "'"


def test_each_statement_gives_its_columns_and_rows(shop: Shop) -> None:
    result = run("SELECT 1 AS a, 'x' AS b", "SELECT COUNT(*) AS n FROM products;")
    assert result.value == [
        {"columns": ["a", "b"], "rows": [[1, "x"]], "truncated": False},
        {"columns": ["n"], "rows": [[400]], "truncated": False},
    ]


@pytest.mark.parametrize(
    ("kind", "sql", "expected"),
    [
        (
            "sqlite",
            "SELECT NULL, 9e999, x'00ff', CAST(x'ff41' AS TEXT), 9223372036854775807",
            [None, "inf", "00ff", "�A", 2**63 - 1],
        ),
        (
            "postgresql",
            "SELECT NULL, 'inf'::float8, '\\x00ff'::bytea, 0.5, date '2024-02-29', ARRAY[1, 2], "
            "'{\"a\": [1]}'::jsonb, 10::numeric, true, interval '1 day'",
            [None, "inf", "00ff", "0.5", "2024-02-29", "[1, 2]", '{"a": [1]}', 10, True,
             "1 day, 0:00:00"],
        ),
        (
            "mariadb",
            "SELECT NULL, x'00ff', 0.5, CAST('2024-02-29' AS DATE), SUM(id), TRUE, "
            "CAST('01:02:03' AS TIME) FROM products",
            [None, "00ff", "0.5", "2024-02-29", 80200, 1, "1:02:03"],
        ),
    ],
)  # fmt: skip
def test_values_that_json_lacks_become_text(
    shop: Shop, kind: str, sql: str, expected: list[Any]
) -> None:
    if shop.kind == kind:
        assert rows(sql) == [expected]


def test_marks_of_drivers_are_plain_text(shop: Shop) -> None:
    assert rows("SELECT ':a', '%s', 5 % 3, '?', '%(a)s', '{x}'") == [
        [":a", "%s", 2, "?", "%(a)s", "{x}"]
    ]


def test_comments_and_a_semicolon_are_left_out(shop: Shop) -> None:
    assert rows("SELECT /* one */ '/* no; */' -- it's\n, '-- none' ;") == [["/* no; */", "-- none"]]


def test_the_columns_of_the_tables_can_be_asked_for(shop: Shop) -> None:
    table = "pragma_table_info('orders')"
    if shop.kind == "sqlite":
        assert error(f"SELECT name FROM {table}").type == "StatementRefused"
        return
    names = rows(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'orders' "
        "ORDER BY ordinal_position"
    )
    assert names == [["id"], ["customer_id"], ["ordered_on"], ["status"], ["channel"]]


def test_every_cut_gives_the_same(shop: Shop) -> None:
    check_every_cut(Database, text_of("SELECT 'é'", "SELECT 2;"))
    check_every_cut(Database, text_of("SELECT 1", "DELETE FROM orders", "SELECT 2"))


@settings(max_examples=30, deadline=None)
@given(words=st.lists(st.text(max_size=20), min_size=1, max_size=5), data=st.data())
def test_any_strings_come_back_at_any_cuts(
    shop: Shop, words: list[str], data: st.DataObject
) -> None:
    # NUL ends a text in SQLite, and is none of PostgreSQL's.
    words = [word.replace("\0", "").encode(errors="replace").decode() for word in words]
    text = text_of(*(f"SELECT {quoted(shop.kind, word)}" for word in words))
    result = run_tool(Database, text, cuts=data.draw(cuts(text))).result
    assert result.error is None, result.error
    assert [one["rows"] for one in result.value] == [[[word]] for word in words]


@settings(max_examples=100, deadline=None)
@given(sql=st.text("SELECT INTO FROM*(),;'\"-/%[]`1aorders \n", max_size=60))
def test_any_text_gives_a_result_or_an_error_of_one_sentence(shop: Shop, sql: str) -> None:
    result = run(sql)
    if result.error is not None:
        assert result.error.message.startswith("statement 1: "), result.error
        assert "\n" not in result.error.message


def test_a_statement_runs_before_the_region_ends(shop: Shop) -> None:
    text = text_of("SELECT nothing", "SELECT 2")
    run = run_tool(Database, text, cuts=[text.index(", "), len(text) - 3])
    assert run.result.error is not None
    assert [hook.arguments for hook in run.hooks if hook.name == "on_argument"] == [
        ("statements[0]", "SELECT nothing")
    ]


@pytest.fixture
def connected() -> Iterator[list[object]]:
    """The connections that are made."""
    made: list[object] = []

    def count(driver: object, _record: object) -> None:
        made.append(driver)

    event.listen(Pool, "connect", count)
    yield made
    event.remove(Pool, "connect", count)


def test_calls_use_one_connection(
    shop: Shop, connected: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "59")  # an engine not yet made
    for _ in range(3):
        rows("SELECT 1")
    error("SELECT FROM WHERE")
    error("SELECT nothing")
    rows("SELECT 1")
    assert len(connected) == 1


def test_the_recorded_regions_succeed(shop: Shop) -> None:
    texts = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert 20 <= len(set(texts)) == len(texts) <= 24
    if shop.kind != "sqlite":
        texts = [text for text in texts if not any(own in text for own in SQLITES_OWN)]
        texts = texts[::3]
    assert len(texts) >= 5
    for text in texts:
        result = run_tool(Database, text).result
        assert result.error is None, (text, result.error)
        assert all(one["rows"] for one in result.value), text


def test_rows_without_an_end_are_truncated(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_MAX_ROWS", "70")
    [first, second] = run(LONG[shop.kind], "SELECT 2").value
    assert first["truncated"] is True
    assert len(first["rows"]) == 70
    assert second["rows"] == [[2]]


def test_as_many_rows_as_allowed_are_not_truncated(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_MAX_ROWS", "3")
    [value] = run("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3").value
    assert value["truncated"] is False
    [value] = run("SELECT 1 AS a UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4").value
    assert value["truncated"] is True
    assert len(value["rows"]) == 3


def test_a_long_value_is_cut(shop: Shop) -> None:
    [value] = run(f"SELECT {NAMES[shop.kind]} FROM customers").value
    assert value["truncated"] is True
    assert len(value["rows"][0][0]) == MAX_CELL_CHARS + 1


def test_a_calls_rows_are_limited_together(shop: Shop) -> None:
    names = f"(SELECT substr({NAMES[shop.kind]}, 1, 3998) AS names FROM customers) n"
    query = f"SELECT a.id, n.names FROM orders a, {names} LIMIT 150"
    result = run(query, query, query)
    assert [one["truncated"] for one in result.value] == [False, True, True]
    assert len(json.dumps(result.value)) <= MAX_RESULT_BYTES + 1000
