"""Statements that once passed the tool's guard, or were thought of to pass it, on real servers.

Each is tried twice: at the tool, and past its guard at a session as the tool makes it.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tool_workers.database.calls import error, rows, run
from tests.tool_workers.database.shop import Shop
from tool_workers._database_errors import StatementError, StatementRefused
from tool_workers._database_functions import FUNCTIONS
from tool_workers._database_guard import checked

#: What is refused, and what its message must name.
POSTGRESQL = {
    "SELECT * FROM ts_stat('SELECT to_tsvector(name) FROM customers')": "ts_stat",
    "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery')": "ts_rewrite",
    "SELECT * FROM crosstab('SELECT 1, 2, 3') AS c(a int, b int)": "crosstab",
    "SELECT ('/etc/passwd'::text).pg_read_file": "pg_read_file",
    "SELECT f.pg_read_file FROM unnest(ARRAY['/etc/passwd'::text]) f": "pg_read_file",
    "SELECT f.ts_stat FROM unnest(ARRAY['SELECT 1'::text]) f": "ts_stat",
    "SELECT f.nextval FROM unnest(ARRAY['numbers'::text]) f": "nextval",
    "SELECT ('numbers'::text).nextval": "DOT",
    "SELECT x[1].ts_stat FROM (SELECT ARRAY['SELECT 1'::text] AS x) s": "DOT",
    "SELECT s.x[1].ts_stat FROM (SELECT ARRAY['SELECT 1'::text] AS x) s": "DOT",
    "SELECT (('numbers')).nextval": "DOT",
    "SELECT usename, passwd FROM pg_shadow": "pg_shadow",
    'SELECT rolname FROM "pg_authid"': "pg_authid",
    "SELECT * FROM pg_catalog.pg_proc": "pg_catalog",
    "SELECT * FROM information_schema.routines": "information_schema.routines",
    "SELECT schema_to_xml('public', true, true, '')": "schema_to_xml",
    "SELECT query_to_xml('DELETE FROM orders', true, true, '')": "query_to_xml",
    "SELECT table_to_xml('orders', true, true, '')": "table_to_xml",
    "SELECT http_get('http://127.0.0.1/')": "http_get",
    "SELECT total(o) FROM orders o": "total",
    "SELECT o.total FROM orders o LIMIT 1": "o.total",
    "SELECT public.total(o) FROM orders o": "total",
    "SELECT upper(o) FROM orders o": "upper",
    "SELECT setval('numbers', 7)": "setval",
    "SELECT nextval('numbers')": "nextval",
    "SELECT set_config('statement_timeout', '0', false)": "set_config",
    "SELECT set_config('transaction_read_only', 'off', false)": "set_config",
    "SELECT current_setting('data_directory')": "current_setting",
    "SELECT lo_import('/etc/passwd')": "lo_import",
    "SELECT dblink('', 'SELECT 1')": "dblink",
    "SELECT 1 OPERATOR(public.+++) 2": "OPERATOR",
    "SELECT * FROM orders TABLESAMPLE system (1)": "system",
    "SELECT 'orders'::regclass": "REGCLASS",
    "SELECT '1'::public.checked": "checked",
    "SELECT xmlparse(DOCUMENT '<a/>')": "",
    "SELECT current_user": "CURRENT_USER",
    "SELECT version()": "version",
    "SELECT \"lower\"('A')": "lower",
    "SELECT pg_catalog.lower('A')": "pg_catalog",
    "SELECT E'\\' || pg_sleep(9) --'": "E'",
    "SELECT $$'$$, pg_sleep(9), $$'$$": "$",
    "SELECT U&'\\0027' || 'a'": "&'",
    "SELECT 1 /*+ SeqScan(orders) */": "hints",
    "WITH a AS (DELETE FROM orders RETURNING id) SELECT * FROM a": "writes",
    "WITH a AS (SELECT * INTO t FROM orders) SELECT 1": "INTO",
    "SELECT * FROM ROWS FROM (ts_stat('SELECT 1')) x": "ts_stat",
    "SELECT pg_sleep(9)": "pg_sleep",
}
MARIADB = {
    "SELECT /*+ SET_VAR(max_execution_time=0) */ 1": "hints",
    "SELECT /*! SLEEP(9), */ 1": "hints",
    "SELECT /*!50000 SLEEP(9), */ 1": "hints",
    "SELECT /*M! SLEEP(9), */ 1": "hints",
    "SELECT /*M!100000 SLEEP(9), */ 1": "hints",
    "SELECT MASTER_POS_WAIT('a', 1)": "MASTER_POS_WAIT",
    "SELECT MASTER_GTID_WAIT('0-1-1', 9)": "MASTER_GTID_WAIT",
    "SELECT host, user FROM mysql.user": "mysql.user",
    "SELECT * FROM `mysql`.`global_priv`": "mysql.global_priv",
    "SELECT * FROM information_schema.processlist": "information_schema.processlist",
    "SELECT * FROM performance_schema.threads": "performance_schema.threads",
    "SELECT @@datadir": "@",
    "SELECT @a := 1": "@",
    "SELECT id INTO @a FROM orders LIMIT 1": "@",
    "SELECT LOAD_FILE('/etc/passwd')": "LOAD_FILE",
    "SELECT 1 INTO OUTFILE '/tmp/conveyor-outfile'": "INTO",
    "SELECT GET_LOCK('a', 1)": "GET_LOCK",
    "SELECT BENCHMARK(1000000000, MD5('a'))": "BENCHMARK",
    "SELECT SLEEP(9)": "SLEEP",
    "SELECT NEXTVAL(numbers)": "NEXTVAL",
    "SELECT SETVAL(numbers, 7)": "SETVAL",
    "SELECT NEXT VALUE FOR numbers": "",
    "SELECT total(1)": "total",
    "SELECT shop.total(1)": "total",
    "SELECT LAST_INSERT_ID(5)": "LAST_INSERT_ID",
    "SELECT USER()": "USER",
    "SELECT 1 # , SLEEP(9)": "#",
    "SELECT 1 --1": "--",
    "SELECT _utf8'a'": "_utf8",
    "SELECT HIGH_PRIORITY id FROM orders": "hints",
    "SELECT id FROM orders USE INDEX (PRIMARY)": "INDEX",
    "SELECT id FROM orders PROCEDURE ANALYSE()": "PROCEDURE",
    "SELECT JSON_TABLE('[]', '$' COLUMNS (a INT PATH '$'))": "JSON_TABLE",
}


@pytest.mark.parametrize("sql", POSTGRESQL)
def test_postgresql_by_the_tool(postgresql_only: Shop, sql: str) -> None:
    _is_refused(sql, POSTGRESQL[sql])


@pytest.mark.parametrize("sql", MARIADB)
def test_mariadb_by_the_tool(mariadb_only: Shop, sql: str) -> None:
    _is_refused(sql, MARIADB[sql])


def _is_refused(sql: str, named: str) -> None:
    found = error(sql)
    assert found.type in {"StatementRefused", "SqlSyntaxError", "NotReadOnly"}, found
    assert named.lower() in found.message.lower(), found
    assert "\n" not in found.message


#: What the server refuses by itself, whatever a guard thinks of it: the role may not, or not now.
WALLS = {
    "postgresql": [
        "SELECT ('/etc/passwd'::text).pg_read_file",
        "SELECT f.pg_read_file FROM unnest(ARRAY['/etc/passwd'::text]) f",
        "SELECT passwd FROM pg_shadow", "SELECT lo_import('/etc/passwd')",
        "SELECT setval('numbers', 7)", "SELECT nextval('numbers')", "SELECT total(o) FROM orders o",
        "SELECT o.total FROM orders o LIMIT 1",
        "SELECT query_to_xml('DELETE FROM orders', true, true, '')",
        "SELECT * FROM ts_stat('DELETE FROM orders RETURNING ''a''::tsvector')",
        "WITH a AS (DELETE FROM orders RETURNING id) SELECT * FROM a",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SELECT set_config('role', 'owner', false)", "SELECT pg_reload_conf()",
        "SELECT 1; DELETE FROM orders", "SELECT id FROM orders FOR UPDATE",
        "SELECT set_config('session_authorization', 'owner', false)",
    ],
    "mariadb": [
        "SELECT user FROM mysql.user", "SELECT 1 INTO OUTFILE '/tmp/conveyor-outfile'",
        "SELECT NEXTVAL(numbers)", "SELECT SETVAL(numbers, 7)", "SELECT total(1)",
        "SELECT 1; DELETE FROM orders", "DELETE FROM orders", "FLUSH TABLES",
        "INSERT INTO customers (id) VALUES (0)", "CREATE TEMPORARY TABLE t (a INT)", "KILL 1",
        "SET GLOBAL max_connections = 1",
        "LOAD DATA INFILE '/etc/passwd' INTO TABLE orders", "SET ROLE owner",
    ],
}  # fmt: skip


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize("user", ["reader", "writer"])
@pytest.mark.parametrize("number", range(max(map(len, WALLS.values()))))
def test_the_servers_own_walls(
    server: Shop, number: int, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a role that could write: the session is told to read only."""
    monkeypatch.setenv("DATABASE_TOOL_URL", getattr(server, user))
    count = server.run("SELECT COUNT(*) FROM orders")
    if number < len(WALLS[server.kind]):
        found = error(WALLS[server.kind][number])
        assert found.type in {"StatementRefused", "StatementFailed"}, found
    assert server.run("SELECT COUNT(*) FROM orders") == count


@pytest.mark.usefixtures("unguarded")
def test_what_a_read_only_transaction_lets_through_is_not_committed(postgresql_only: Shop) -> None:
    """PostgreSQL 15 makes a large object in one."""
    before = postgresql_only.run("SELECT COUNT(*) FROM pg_largeobject_metadata")
    run("SELECT lo_create(0)")
    assert postgresql_only.run("SELECT COUNT(*) FROM pg_largeobject_metadata") == before


@pytest.mark.usefixtures("unguarded")
def test_a_file_is_nothing_to_one_without_the_privilege(mariadb_only: Shop) -> None:
    assert rows("SELECT LOAD_FILE('/etc/passwd')") == [[None]]


@pytest.mark.usefixtures("unguarded")
@pytest.mark.parametrize(
    "call", ["pg_sleep(30)", "SLEEP(30)", "BENCHMARK(1000000000, SHA2('a', 512))"]
)
def test_the_servers_own_clock(server: Shop, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if call.startswith("pg_") != (server.kind == "postgresql"):
        return
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.3")
    result = run(f"SELECT {call}")
    # What MariaDB interrupts in these two ends with a value.
    assert result.value is None or result.value[0]["rows"] in ([[0]], [[1]]), result
    assert result.error is None or result.error.type == "StatementTimeout"


#: A call that is refused, and what may stand between its parts without a change of meaning.
BLANKS = st.text(" \t\n", max_size=3) | st.sampled_from(["/* a */", "-- a\n", "/**/"])


@settings(max_examples=150, deadline=None)
@given(
    dialect=st.sampled_from(sorted(FUNCTIONS)),
    name=st.sampled_from(
        ["ts_stat", "pg_read_file", "setval", "load_file", "sleep", "load_extension", "f", "größe"]
    ),
    upper=st.lists(st.booleans(), min_size=20, max_size=20),
    blanks=st.lists(BLANKS, min_size=3, max_size=3),
    frame=st.sampled_from(
        ["SELECT {}", "SELECT * FROM {}", "SELECT lower({}) FROM t", "VALUES ({})",
         "SELECT 1 WHERE EXISTS (SELECT {})", "WITH a AS (SELECT {}) SELECT * FROM a",
         "SELECT CASE WHEN 1 = 1 THEN {} END", "SELECT 1 ORDER BY {}", "SELECT a FROM t AS f, {}",
         "WITH f(x) AS (SELECT 1) SELECT {}", "INSERT INTO f (x) SELECT {}",
         "UPDATE t SET a = {}", "DELETE FROM t WHERE a = {}", "SELECT COUNT(*) FILTER (WHERE {})",
         "SELECT SUM(a) OVER (ORDER BY {}) FROM t", "SELECT 1 UNION SELECT {}"]
    ),
)  # fmt: skip
def test_a_call_is_refused_however_it_is_written(
    dialect: str, name: str, upper: list[bool], blanks: list[str], frame: str
) -> None:
    written = "".join(
        letter.upper() if big else letter for letter, big in zip(name, upper, strict=False)
    )
    call = f"{blanks[0]} {written}{blanks[1]}({blanks[2]}'1')"
    with pytest.raises(StatementError):
        checked(frame.format(call), dialect=dialect, write=True)


@settings(max_examples=200, deadline=None)
@given(
    dialect=st.sampled_from(sorted(FUNCTIONS)),
    sql=st.lists(
        st.sampled_from(
            ["SELECT", "1", "'", '"', "`", "\\", "--", "/*", "*/", "#", "\n", "$$", "E", "[", "]",
             "pg_sleep(1)", "sleep(1)", ";", ",", "''", "!", "x'", "a", " "]
        ),
        max_size=14,
    ).map(lambda parts: "SELECT " + "".join(parts)),
)  # fmt: skip
def test_no_quotes_or_comments_hide_a_call(dialect: str, sql: str) -> None:
    """What passes has a call only where the database reads a text, as our tokens do."""
    try:
        statement = checked(sql, dialect=dialect, write=False)
    except StatementError:
        return
    assert not {"--", "/*", "*/", "#"} & set(_outside_quotes(statement.sql, dialect))
    assert "sleep(" not in "".join(_outside_quotes(statement.sql, dialect))


def _outside_quotes(sql: str, dialect: str) -> list[str]:
    """What stands outside of quotes, found letter by letter as the database's manual says."""
    parts, at = [""], 0
    while at < len(sql):
        quote = sql[at]
        at += 1
        if quote not in "'\"`" + ("[" if dialect == "sqlite" else ""):
            parts[-1] += quote
            continue
        parts.append("")
        at = _end_of_quoted(sql, at, quote, backslash=dialect == "mysql" and quote != "`")
    return parts


def _end_of_quoted(sql: str, at: int, quote: str, *, backslash: bool) -> int:
    while at < len(sql):
        if quote == "[" and sql[at] == "]":
            return at + 1
        if (backslash and sql[at] == "\\") or (sql[at] == quote and sql[at + 1 : at + 2] == quote):
            at += 1
        elif sql[at] == quote:
            return at + 1
        at += 1
    return at


def test_a_name_with_a_list_of_columns_is_no_call() -> None:
    for sql in (
        "WITH f(x) AS (SELECT 1) SELECT x FROM f",
        "SELECT f.x FROM (SELECT 1) AS f(x)",
        "INSERT INTO f (x) VALUES (1)",
        "INSERT INTO shop.f (x) VALUES (1)",
    ):
        checked(sql, dialect="postgres", write=True)
        with pytest.raises(StatementRefused, match="function f"):
            checked(sql.replace("SELECT 1", "SELECT f(1)").replace("VALUES (1)", "VALUES (f(1))"),
                    dialect="postgres", write=True)  # fmt: skip
