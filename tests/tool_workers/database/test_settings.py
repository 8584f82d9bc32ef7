"""The database tool's settings: what is refused, when, and by which sentence."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from sgl_conveyor.errors import ConfigurationError
from tests.tool_workers.database.calls import error, rows
from tests.tool_workers.database.shop import Shop
from tool_workers._database_sample import sample_database
from tool_workers.database import Database

UNSERVED = [
    "mssql+pyodbc://sa@host/x", "oracle://host/x", "duckdb:///x.db", "snowflake://a/b",
    "postgresql+asyncpg://host/x", "postgresql+psycopg2://host/x", "mysql+mysqldb://host/x",
    "nodb://host/x", "mysql+pymysql+x://host",
]  # fmt: skip


def test_a_missing_file_is_an_error_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{tmp_path / 'none.sqlite'}")
    for write in ("0", "1"):
        monkeypatch.setenv("DATABASE_TOOL_WRITE", write)
        assert error("SELECT 1").type == "DatabaseUnavailable"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["postgresql", "mariadb"])
def test_a_server_that_is_not_there_is_an_error_that_does_not_name_it(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", f"{scheme}://somebody:secret@127.0.0.1:9/x")
    found = error("SELECT 1")
    assert found.type == "DatabaseUnavailable"
    assert "127.0.0.1" not in found.message
    assert "somebody" not in found.message
    Database.start()  # it may be there later


@pytest.mark.parametrize(
    ("name", "value"), [("URL", "no url"), ("MAX_ROWS", "-1"), ("WRITE", "perhaps")]
)
def test_a_bad_setting_is_an_error_that_keeps_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"DATABASE_TOOL_{name}", value)
    found = error("SELECT 1")
    assert found.type in {"BadSettings", "DatabaseRefused"}
    assert value not in found.message
    with pytest.raises(ConfigurationError, match=f"DATABASE_TOOL_{name}"):
        Database.start()


def test_an_empty_setting_is_none(sqlite_only: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WRITE", "ROLE", "MAX_ROWS", "STATEMENT_TIMEOUT_S"):
        monkeypatch.setenv(f"DATABASE_TOOL_{name}", "")
    assert rows("SELECT 1") == [[1]]


@pytest.mark.parametrize("url", UNSERVED)
def test_what_is_not_served_is_refused_at_start_in_one_sentence(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", url)
    with pytest.raises(ConfigurationError) as refusal:
        Database.start()
    message = str(refusal.value)
    assert url.partition(":")[0] in message
    assert "write sqlite, postgresql or mariadb" in message
    assert "host" not in message
    assert "\n" not in message


def test_the_sample_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_TOOL_WRITE", "1")
    assert error("DELETE FROM orders").type == "BadSettings"


def test_what_is_served_starts(shop: Shop) -> None:
    Database.start()


def test_the_sample_is_made_once_whoever_makes_it(tmp_path: Path, sample: Path) -> None:
    path = tmp_path / "made" / "sample.sqlite"
    threads = [threading.Thread(target=sample_database, args=(path,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == sample.read_bytes()


def test_a_file_with_odd_characters_is_opened(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a b#c.sqlite"
    shutil.copy(sample, path)
    monkeypatch.setenv("DATABASE_TOOL_URL", f"sqlite:///{path}")
    assert rows("SELECT COUNT(*) FROM customers") == [[4000]]
