"""Changes: only `finish` makes them last, on each database."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgl_conveyor.testing import cuts, run_tool
from tests.tool_workers.database.calls import error, run, text_of
from tests.tool_workers.database.shop import Shop
from tool_workers.database import Database

TRANSFER = (
    "UPDATE accounts SET balance = balance - 30 WHERE id = 1",
    "UPDATE accounts SET balance = balance + 30 WHERE id = 2",
)
BEFORE = {1: 100, 2: 50}
NEW = (
    "DROP TABLE IF EXISTS entries",
    "DROP TABLE IF EXISTS accounts",
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER)",
    "INSERT INTO accounts VALUES (1, 100), (2, 50)",
)
#: The database's own tables.
OWN_TABLE = {"sqlite": "sqlite_master", "postgresql": "pg_class", "mariadb": "mysql.user"}


@pytest.fixture
def accounts(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A table of accounts that may be written."""
    if shop.kind == "sqlite":
        path = tmp_path / "accounts.sqlite"
        path.touch()
        url = f"sqlite:///{path}"
        shop = replace(shop, writer=url, owner=url)
    shop.run(*NEW)
    monkeypatch.setenv("DATABASE_TOOL_URL", shop.writer)
    monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
    return shop


def balances(shop: Shop) -> dict[int, int]:
    return dict(shop.run("SELECT id, balance FROM accounts"))  # type: ignore[arg-type]


def test_changes_are_there_after_finish_and_not_before(
    accounts: Shop, monkeypatch: pytest.MonkeyPatch
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
    assert seen == [BEFORE]
    assert balances(accounts) == {1: 70, 2: 80}


def test_a_change_may_return_rows(accounts: Shop) -> None:
    result = run("INSERT INTO accounts VALUES (3, 1), (4, 2) RETURNING id")
    assert result.value[0]["rows"] == [[3], [4]]
    assert len(balances(accounts)) == 4


@pytest.mark.parametrize("end", ["length", "abort"])
def test_a_region_that_does_not_end_changes_nothing(accounts: Shop, end: Any) -> None:
    result = run(*TRANSFER, end=end)
    assert result.error or result.aborted
    assert balances(accounts) == BEFORE
    # Nor does the next call in this process see any of it, or find the database locked.
    assert run("SELECT balance FROM accounts WHERE id = 1").value[0]["rows"] == [[100]]
    assert run(TRANSFER[0]).error is None
    assert balances(accounts) == {1: 70, 2: 50}


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_region_cut_anywhere_changes_all_or_nothing(shop: Shop, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if shop.kind == "sqlite":
            path = Path(shop.owner.removeprefix("sqlite:///")).parent / "cut.sqlite"
            path.touch()
            shop = replace(shop, writer=f"sqlite:///{path}", owner=f"sqlite:///{path}")
        shop.run(*NEW)
        patch.setenv("DATABASE_TOOL_URL", shop.writer)
        patch.setenv("DATABASE_TOOL_WRITE", "1")
        text = text_of(*TRANSFER)
        length = data.draw(st.integers(0, len(text)))
        end = data.draw(st.sampled_from(["stop", "length", "abort"]))
        part = text[:length]
        result = run_tool(Database, part, cuts=data.draw(cuts(part)), end=end).result
        whole = result.error is None and not result.aborted
        assert balances(shop) == ({1: 70, 2: 80} if whole else BEFORE)


@pytest.mark.parametrize(
    "text",
    [
        text_of(TRANSFER[0], "SELECT nothing"),
        text_of(TRANSFER[0], "DROP TABLE accounts"),
        text_of(TRANSFER[0], "COMMIT"),
        text_of(TRANSFER[0], "INSERT INTO accounts VALUES (1, 1)"),
        text_of(TRANSFER[0], "UPDATE OWN_TABLE SET sql = ''"),
        json.dumps({"statements": [TRANSFER[0]]})[:-1] + ', "statements": ["SELECT 1"]}',
        json.dumps({"statements": [TRANSFER[0]]})[:-1] + ', "more": 1}',
        text_of(TRANSFER[0])[:-1],
    ],
    ids=lambda text: text[-40:],
)
def test_what_fails_changes_nothing(accounts: Shop, text: str) -> None:
    text = text.replace("OWN_TABLE", OWN_TABLE[accounts.kind])
    for cut in ([], range(1, len(text))):
        assert run_tool(Database, text, cuts=cut).result.error is not None
        assert balances(accounts) == BEFORE


def test_arguments_that_are_not_what_ran_change_nothing(accounts: Shop) -> None:
    # The JSON splitter and pydantic may come to differ over a text: what ran is not committed.
    class Differs(Database):
        def finish(self) -> Any:
            self.args.statements.append("SELECT 1")
            return super().finish()

    result = run_tool(Differs, text_of(*TRANSFER)).result
    assert result.error is not None
    assert result.error.type == "ArgumentsDiffer"
    assert balances(accounts) == BEFORE


def test_a_commit_that_fails_changes_nothing(accounts: Shop) -> None:
    if accounts.kind == "mariadb":
        return  # it checks keys at once
    accounts.run(
        "CREATE TABLE entries (account INTEGER "
        "REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    found = error(TRANSFER[0], "INSERT INTO entries VALUES (9)")
    assert found.type == "StatementFailed"
    assert "commit" in found.message
    assert balances(accounts) == BEFORE
    assert run(TRANSFER[0]).error is None


def test_a_worker_that_is_killed_leaves_nothing(accounts: Shop) -> None:
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
    assert balances(accounts) == BEFORE
    assert run(*TRANSFER).error is None
    assert balances(accounts) == {1: 70, 2: 80}


def test_a_connection_that_is_lost_before_the_commit_changes_nothing(
    accounts: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    if accounts.kind == "sqlite":
        return  # it has none
    if accounts.kind == "postgresql":
        find = "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'"
        end = "SELECT pg_terminate_backend({})"
    else:
        find = "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx"
        end = "KILL {}"
    finish = Database.finish

    def lost(self: Database) -> Any:
        [(number,)] = accounts.run(find)
        accounts.run(end.format(number))
        return finish(self)

    with monkeypatch.context() as patch:
        patch.setattr(Database, "finish", lost)
        found = error(*TRANSFER)
    assert found.type == "StatementFailed"
    assert "the commit failed" in found.message
    assert balances(accounts) == BEFORE
    assert run(*TRANSFER).error is None
    assert balances(accounts) == {1: 70, 2: 80}


def test_a_database_that_another_writes_is_an_error_in_time(
    accounts: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "0.2")
    with closing(accounts.connect()) as connection, closing(connection.cursor()) as cursor:
        cursor.execute("BEGIN")
        cursor.execute(TRANSFER[0])
        found = error("SELECT 1", TRANSFER[0])
        assert found.type in {"StatementFailed", "StatementTimeout"}
        assert "lock" in found.message or "longer" in found.message
    assert balances(accounts) == BEFORE


def test_what_locks_rows_is_refused_where_only_reading_is_allowed(server: Shop) -> None:
    for lock in (
        "FOR UPDATE",
        "FOR SHARE" if server.kind == "postgresql" else "LOCK IN SHARE MODE",
    ):
        assert error(f"SELECT id FROM orders WHERE id = 1 {lock}").type == "NotReadOnly"


@pytest.mark.parametrize("engine", ["Aria", "MyISAM", "MEMORY"])
def test_a_table_that_cannot_be_undone_is_not_written(
    mariadb_only: Shop, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", mariadb_only.writer)
    monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
    mariadb_only.run(
        "DROP TABLE IF EXISTS lasting",
        f"CREATE TABLE lasting (id INTEGER) ENGINE {engine}",
        "DROP VIEW IF EXISTS window_on_it",
        "CREATE VIEW window_on_it AS SELECT * FROM lasting",
    )
    for table in ("lasting", "shop.lasting", "window_on_it"):
        found = error(f"INSERT INTO {table} VALUES (1)")
        assert found.type == "StatementRefused"
        assert "could not be undone" in found.message
    assert mariadb_only.run("SELECT COUNT(*) FROM lasting") == [(0,)]
