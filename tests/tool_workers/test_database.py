"""The database tool: what it returns, what it refuses, and that only `finish` changes anything."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_conveyor.core import ToolError, ToolResult
from sgl_conveyor.testing import check_every_cut, cuts, run_tool
from tool_workers._database_sample import sample_database
from tool_workers._database_transaction import MAX_CELL_CHARS, MAX_RESULT_BYTES
from tool_workers.database import Database

RECORDED = Path(__file__).parents[2] / "bench" / "recorded" / "database.json"
#: A query without an end.
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_database(tmp_path_factory.mktemp("sample") / "sample.sqlite")


@pytest.fixture(autouse=True)
def environment(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{sample}")
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "60")


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A database of our own, that may be written."""
    path = tmp_path / "accounts.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)")
        connection.execute("INSERT INTO accounts VALUES (1, 100), (2, 50)")
        connection.commit()
    monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{path}")
    monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
    return path


def text_of(*statements: str) -> str:
    return json.dumps({"statements": statements})


def run(*statements: str, **options: Any) -> ToolResult:
    return run_tool(Database, text_of(*statements), **options).result


def rows(statement: str) -> list[list[Any]]:
    result = run(statement)
    assert result.error is None, result.error
    return result.value[0]["rows"]  # type: ignore[no-any-return]


def error(*statements: str) -> ToolError:
    result = run(*statements)
    assert result.error is not None, result.value
    return result.error


def balances(path: Path) -> dict[int, int]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT id, balance FROM accounts"))


class TestReading:
    def test_each_statement_gives_its_columns_and_rows(self) -> None:
        result = run("SELECT 1 AS a, 'x' AS b", "SELECT COUNT(*) AS n FROM products;")
        assert result.value == [
            {"columns": ["a", "b"], "rows": [[1, "x"]], "truncated": False},
            {"columns": ["n"], "rows": [[400]], "truncated": False},
        ]

    def test_values_that_json_lacks_become_text(self) -> None:
        found = rows("SELECT NULL, 9e999, x'00ff', CAST(x'ff41' AS TEXT), 9223372036854775807")
        assert found == [[None, "inf", "00ff", "�A", 2**63 - 1]]

    def test_marks_of_drivers_are_plain_text(self) -> None:
        assert rows("SELECT ':a', '%s', 5 % 3, '?'") == [[":a", "%s", 2, "?"]]

    def test_every_cut_gives_the_same(self) -> None:
        check_every_cut(Database, text_of("SELECT 'é'", "SELECT 2;"))
        check_every_cut(Database, text_of("SELECT 1", "DELETE FROM orders", "SELECT 2"))

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.data())
    def test_any_strings_come_back_at_any_cuts(self, words: list[str], data: st.DataObject) -> None:
        # What MySQL and templates read apart is refused, and NUL ends a text in SQLite.
        words = [word.replace("\0", "").replace("{", "").replace("/", "") for word in words]
        words = [word.encode(errors="replace").decode() for word in words]
        text = text_of(*("SELECT '" + word.replace("'", "''") + "'" for word in words))
        result = run_tool(Database, text, cuts=data.draw(cuts(text))).result
        assert result.error is None, result.error
        assert [one["rows"] for one in result.value] == [[[word]] for word in words]

    @settings(max_examples=100, deadline=None)
    @given(st.text("SELECT INTO FROM*(),;'\"-/%[]`1aorders \n", max_size=60))
    def test_any_text_gives_a_result_or_an_error_of_one_sentence(self, sql: str) -> None:
        result = run(sql)
        if result.error is not None:
            assert result.error.message.startswith("statement 1: "), result.error
            assert "\n" not in result.error.message

    def test_a_statement_runs_before_the_region_ends(self) -> None:
        text = text_of("SELECT nothing", "SELECT 2")
        run = run_tool(Database, text, cuts=[text.index(", "), len(text) - 3])
        assert run.result.error is not None
        assert [hook.arguments for hook in run.hooks if hook.name == "on_argument"] == [
            ("statements[0]", "SELECT nothing")
        ]

    def test_two_calls_use_one_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[object] = []
        connect = sqlite3.connect

        def counted(*arguments: Any, **options: Any) -> sqlite3.Connection:
            opened.append(arguments)
            return connect(*arguments, **options)

        monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "59")  # an engine not yet made
        monkeypatch.setattr(sqlite3, "connect", counted)
        for _ in range(3):
            rows("SELECT 1")
        error("SELECT")
        rows("SELECT 1")
        assert len(opened) == 1

    def test_the_recorded_regions_succeed(self) -> None:
        texts = json.loads(RECORDED.read_text(encoding="utf-8"))
        assert 20 <= len(set(texts)) == len(texts) <= 24
        for text in texts:
            result = run_tool(Database, text).result
            assert result.error is None, (text, result.error)
            assert all(one["rows"] for one in result.value), text


#: What is refused while reading only, and the error's type.
REFUSED = {
    "DELETE FROM orders": "NotReadOnly",
    "UPDATE orders SET id = 1": "NotReadOnly",
    "INSERT INTO orders SELECT * FROM orders": "NotReadOnly",
    "WITH a AS (SELECT 1) DELETE FROM orders WHERE id IN a": "NotReadOnly",
    "REPLACE INTO orders VALUES (1)": "StatementRefused",
    "SELECT 1; SELECT 2": "NotOneStatement",
    "SELECT 1; DELETE FROM orders": "NotOneStatement",
    "SELECT 1 /* ; */; -- \nSELECT 2": "NotOneStatement",
    "SELECT 1 /* /* */; DELETE FROM orders -- */": "NotOneStatement",
    "": "NotOneStatement",
    "-- nothing": "NotOneStatement",
    "SELECT FROM WHERE": "SqlSyntaxError",
    "SELECT " + "(" * 500: "SqlSyntaxError",
    "SELECT '" + "a" * 20_000 + "'": "StatementRefused",
    "SELECT 1 /*! INTO OUTFILE 'x' */": "StatementRefused",
    "SELECT nothing FROM orders": "StatementFailed",
    "SELECT ?": "StatementFailed",
}
#: What is refused always.
NEVER = [
    "PRAGMA query_only = OFF", "ATTACH 'x.db' AS x", "DETACH main", "VACUUM", "VACUUM INTO 'x.db'",
    "BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a", "CREATE TABLE t (x)",
    "CREATE TEMP TABLE t (x)", "DROP TABLE orders", "ALTER TABLE orders RENAME TO o", "ANALYZE",
    "REINDEX", "EXPLAIN SELECT 1", "SELECT load_extension('x')",
    "SELECT * FROM pragma_user_version",
    "SELECT 'a' REGEXP '(a+)+b'", "nonsense",
    "SELECT printf('%.*c', 2000000000, 'x')", "SELECT format('%2000000000d', 1)",
]  # fmt: skip


class TestRefusals:
    @pytest.mark.parametrize("sql", REFUSED, ids=lambda sql: sql[:30])
    def test_what_does_not_only_read_is_refused(self, sql: str) -> None:
        found = error("SELECT 1", sql)
        assert found.type == REFUSED[sql], found
        assert found.message.startswith("statement 2: ")

    @pytest.mark.parametrize("sql", NEVER)
    @pytest.mark.parametrize("write", ["0", "1"])
    def test_what_reaches_beyond_rows_is_always_refused(
        self, sql: str, write: str, accounts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_TOOL_WRITE", write)
        assert error(sql).type in {"StatementRefused", "StatementFailed"}
        assert balances(accounts) == {1: 100, 2: 50}
        assert sorted(path.name for path in accounts.parent.iterdir()) == [accounts.name]

    @pytest.mark.parametrize("sql", ["DELETE FROM orders", *NEVER])
    def test_the_database_refuses_what_the_parser_let_through(
        self, sql: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tool_workers import _database_transaction
        from tool_workers._database_guard import Statement

        monkeypatch.setattr(
            _database_transaction, "checked", lambda sql, **_: Statement(sql, writes=False)
        )
        if sql.startswith("EXPLAIN"):
            return  # harmless
        assert error(sql).type in {"StatementRefused", "StatementFailed"}

    def test_a_query_without_an_end_is_interrupted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.2")
        assert error(ENDLESS).type == "StatementTimeout"
        assert rows("SELECT 1") == [[1]]

    def test_rows_without_an_end_are_truncated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_TOOL_MAX_ROWS", "3")
        [value] = run(ENDLESS.replace("COUNT(*)", "x")).value
        assert value == {"columns": ["x"], "rows": [[1], [2], [3]], "truncated": True}

    def test_as_many_rows_as_allowed_are_not_truncated(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_TOOL_MAX_ROWS", "3")
        [value] = run("VALUES (1), (2), (3)").value
        assert value["truncated"] is False

    def test_a_long_value_is_cut(self) -> None:
        [value] = run("SELECT hex(zeroblob(20000))").value
        assert value["truncated"] is True
        assert len(value["rows"][0][0]) == MAX_CELL_CHARS + 1

    def test_a_calls_rows_are_limited_together(self) -> None:
        query = "SELECT a.id, hex(zeroblob(1999)) FROM orders a LIMIT 150"
        result = run(query, query, query)
        assert [one["truncated"] for one in result.value] == [False, True, True]
        assert len(json.dumps(result.value)) <= MAX_RESULT_BYTES + 1000

    def test_a_huge_value_is_an_error(self) -> None:
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
    def test_arguments_that_are_none_are_refused(self, text: str, expected: str) -> None:
        sequential = check_every_cut(Database, text).result
        assert sequential.error is not None
        assert sequential.error.type == expected


class TestSettings:
    def test_a_missing_file_is_an_error_and_is_not_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{tmp_path / 'none.sqlite'}")
        for write in ("0", "1"):
            monkeypatch.setenv("DATABASE_TOOL_WRITE", write)
            assert error("SELECT 1").type == "DatabaseUnavailable"
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("name", "value"),
        [("URL", "no url"), ("URL", "nodb://host/x"), ("MAX_ROWS", "-1"), ("WRITE", "perhaps")],
    )
    def test_a_bad_setting_is_an_error_that_keeps_its_value(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(f"DATABASE_TOOL_{name}", value)
        found = error("SELECT 1")
        assert found.type in {"BadSettings", "DatabaseUnavailable"}
        assert value not in found.message

    def test_the_sample_is_not_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATABASE_TOOL_URL")
        monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
        assert error("DELETE FROM orders").type == "BadSettings"

    def test_the_sample_is_made_once_whoever_makes_it(self, tmp_path: Path, sample: Path) -> None:
        path = tmp_path / "made" / "sample.sqlite"
        threads = [threading.Thread(target=sample_database, args=(path,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert list(path.parent.iterdir()) == [path]
        assert path.read_bytes() == sample.read_bytes()


TRANSFER = (
    "UPDATE accounts SET balance = balance - 30 WHERE id = 1",
    "UPDATE accounts SET balance = balance + 30 WHERE id = 2",
)


class TestWriting:
    def test_changes_are_there_after_finish_and_not_before(
        self, accounts: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[dict[int, int]] = []
        finish = Database.finish

        def watched(self: Database) -> Any:
            seen.append(balances(accounts))
            return finish(self)

        monkeypatch.setattr(Database, "finish", watched)
        query = "SELECT balance FROM accounts ORDER BY id"
        result = run(*TRANSFER, query)
        assert [one.get("rows_affected") for one in result.value] == [1, 1, None]
        assert result.value[2]["rows"] == [[70], [80]]
        assert seen == [{1: 100, 2: 50}]
        assert balances(accounts) == {1: 70, 2: 80}

    def test_a_change_may_return_rows(self, accounts: Path) -> None:
        result = run("INSERT INTO accounts VALUES (3, 1), (4, 2) RETURNING id")
        assert result.value[0]["rows"] == [[3], [4]]
        assert len(balances(accounts)) == 4

    @pytest.mark.parametrize("end", ["length", "abort"])
    def test_a_region_that_does_not_end_changes_nothing(self, accounts: Path, end: Any) -> None:
        result = run(*TRANSFER, end=end)
        assert result.error or result.aborted
        assert balances(accounts) == {1: 100, 2: 50}
        # Nor does the next call in this process see any of it, or find the database locked.
        assert run("SELECT balance FROM accounts WHERE id = 1").value[0]["rows"] == [[100]]
        assert run(TRANSFER[0]).error is None
        assert balances(accounts) == {1: 70, 2: 50}

    @pytest.mark.parametrize(
        "text",
        [
            text_of(TRANSFER[0], "SELECT nothing"),
            text_of(TRANSFER[0], "DROP TABLE accounts"),
            text_of(TRANSFER[0], "COMMIT"),
            text_of(TRANSFER[0], "INSERT INTO accounts VALUES (1, 1)"),
            text_of(TRANSFER[0], "UPDATE sqlite_master SET sql = ''"),
            json.dumps({"statements": [TRANSFER[0]]})[:-1] + ', "statements": ["SELECT 1"]}',
            json.dumps({"statements": [TRANSFER[0]]})[:-1] + ', "more": 1}',
            text_of(TRANSFER[0])[:-1],
        ],
        ids=lambda text: text[-40:],
    )
    def test_what_fails_changes_nothing(self, accounts: Path, text: str) -> None:
        for cut in ([], range(1, len(text))):
            assert run_tool(Database, text, cuts=cut).result.error is not None
            assert balances(accounts) == {1: 100, 2: 50}

    def test_arguments_that_are_not_what_ran_change_nothing(self, accounts: Path) -> None:
        # The JSON splitter and pydantic may come to differ over a text: what ran is not committed.
        class Differs(Database):
            def finish(self) -> Any:
                self.args.statements.append("SELECT 1")
                return super().finish()

        result = run_tool(Differs, text_of(*TRANSFER)).result
        assert result.error is not None
        assert result.error.type == "ArgumentsDiffer"
        assert balances(accounts) == {1: 100, 2: 50}

    def test_a_commit_that_fails_changes_nothing(self, accounts: Path) -> None:
        with closing(sqlite3.connect(accounts)) as connection:
            connection.execute(
                "CREATE TABLE entries (account INTEGER "
                "REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)"
            )
        found = error(TRANSFER[0], "INSERT INTO entries VALUES (9)")
        assert found.type == "StatementFailed"
        assert "commit" in found.message
        assert balances(accounts) == {1: 100, 2: 50}
        assert run(TRANSFER[0]).error is None

    def test_a_worker_that_is_killed_leaves_nothing(self, accounts: Path) -> None:
        program = (
            "import time\nfrom sgl_conveyor.testing import run_tool\n"
            "from tool_workers.database import Database\n"
            "class Stops(Database):\n"
            "    def finish(self):\n"
            "        print('ran', flush=True)\n        time.sleep(60)\n"
            f"run_tool(Stops, {text_of(*TRANSFER)!r})\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ran\n"
            process.kill()
        assert balances(accounts) == {1: 100, 2: 50}
        assert run(*TRANSFER).error is None
        assert balances(accounts) == {1: 70, 2: 80}


@pytest.fixture
def locked(accounts: Path) -> Iterator[Path]:
    with closing(sqlite3.connect(accounts, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield accounts


def test_a_database_that_another_writes_is_an_error_in_time(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.2")
    found = error("SELECT 1", TRANSFER[0])
    assert found.type == "StatementFailed"
    assert "locked" in found.message


def test_a_file_with_odd_characters_is_opened(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a b#c.sqlite"
    shutil.copy(sample, path)
    monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{path}")
    assert rows("SELECT COUNT(*) FROM customers") == [[4000]]
