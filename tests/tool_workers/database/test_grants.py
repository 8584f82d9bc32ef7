"""What MariaDB says that a user may do: a line that is not known word for word is too much."""

from __future__ import annotations

import time

import pytest

from sgl_conveyor.errors import ConfigurationError
from tests.tool_workers.database.shop import Shop
from tests.tool_workers.database.test_users import another
from tool_workers._database_mariadb import _excess
from tool_workers.database import Database


@pytest.mark.parametrize(
    "grant",
    [
        "GRANT ALL PRIVILEGES ON `my shop`.* TO `a`@`%`",
        "GRANT ALL PRIVILEGES ON `a`` TO ``b`.* TO `a`@`%`",
        "GRANT SELECT (`a) ON ``b`), DELETE HISTORY ON `my shop`.`x y` TO `a`@`%`",
        "GRANT EXECUTE ON PACKAGE BODY `my shop`.`x y` TO `a`@`%`",
        "GRANT PROXY ON ''@'%' TO 'a'@'%'",
        "GRANT SELECT ON `m_sql`.* TO `a`@`%`",
        "GRANT USAGE ON *.* TO `a`@`%` WITH GRANT OPTION",
        "GRANT USAGE ON *.* TO `a`@`%` WITH GRANT OPTION MAX_USER_CONNECTIONS 8",
        "GRANT `reader` TO `a`@`%` WITH ADMIN OPTION",
        'GRANT ALL PRIVILEGES ON "my shop".* TO "a"@"%"',
        "GRANT SOMETHING NEW",
        "",
    ],
)
def test_what_is_not_known_is_too_much(grant: str) -> None:
    assert _excess(grant) is not None


@pytest.mark.parametrize("mode", ["", "ANSI_QUOTES"])
def test_a_database_with_a_blank_in_its_name(
    mariadb_only: Shop, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    mariadb_only.run("CREATE DATABASE IF NOT EXISTS `my shop`")
    [(before,)] = mariadb_only.run("SELECT @@GLOBAL.sql_mode")
    mariadb_only.run(f"SET GLOBAL sql_mode = '{mode}'")
    base = "GRANT SELECT ON shop.* TO {user}"
    try:
        with another(mariadb_only, base, "GRANT SELECT ON `my shop`.* TO {user}") as url:
            monkeypatch.setenv("DATABASE_TOOL_URL", url)
            Database.start()
        with another(mariadb_only, base, "GRANT ALL PRIVILEGES ON `my shop`.* TO {user}") as url:
            monkeypatch.setenv("DATABASE_TOOL_URL", url)
            with pytest.raises(ConfigurationError, match="ALL PRIVILEGES on `my shop`"):
                Database.start()
    finally:
        mariadb_only.run(f"SET GLOBAL sql_mode = '{before}'")


def test_a_refusal_is_a_sentence_and_no_traceback(
    server: Shop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DATABASE_TOOL_URL", server.owner)
    with pytest.raises(ConfigurationError):
        Database.start()
    assert [record.getMessage() for record in caplog.records] == []
    assert "Traceback" not in capfd.readouterr().err
    # Nor is the connection left open.
    query = {
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity "
        "WHERE application_name = 'sgl-conveyor' AND usename = 'owner'",
        "mariadb": "SELECT COUNT(*) - 1 FROM information_schema.processlist WHERE user = 'owner'",
    }
    deadline = time.monotonic() + 20
    while server.run(query[server.kind]) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
