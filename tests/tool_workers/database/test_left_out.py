"""What a run says of the tests whose servers are not installed: in CI, that it has failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.tool_workers.database import conftest, servers


@pytest.fixture(autouse=True)
def without_mariadb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "missing", lambda: ["MariaDB"])


def test_what_is_missing_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(conftest.NEEDED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="MariaDB is not installed: sudo apt-get"):
        conftest.shop_of(cast(Any, None), "mariadb")


def test_in_ci_it_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(conftest.NEEDED, "1")
    with pytest.raises(pytest.fail.Exception, match="MariaDB is not installed"):
        conftest.shop_of(cast(Any, None), "mariadb")


def test_the_run_ends_with_what_was_left_out() -> None:
    lines: list[str] = []
    reports = [SimpleNamespace(longrepr=("file", 1, f"Skipped: {servers.HOW_TO_GET}"))] * 3
    reporter = SimpleNamespace(
        getreports=lambda kind: reports if kind == "skipped" else [], write_line=lines.append
    )
    conftest.pytest_terminal_summary(cast(Any, reporter))
    assert lines == [
        "3 tests of the database tool were left out, since not installed: MariaDB; get them with: "
        "sudo apt-get install postgresql mariadb-server"
    ]
