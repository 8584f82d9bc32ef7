"""The three databases, each with the sample in it, for all tests of the tool."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.tool_workers.database import servers
from tests.tool_workers.database.shop import Shop, mariadb_shop, postgresql_shop, sqlite_shop
from tool_workers import _database_transaction
from tool_workers._database_guard import Statement
from tool_workers._database_sample import sample_database

KINDS = ("sqlite", "postgresql", "mariadb")
NEEDED = "CONVEYOR_LEAVE_NOTHING_OUT"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_database(tmp_path_factory.mktemp("sample") / "sample.sqlite")


@dataclass
class _Shops:
    """The shops that were needed so far; their servers run to the end of the session."""

    sample: Path
    directories: pytest.TempPathFactory
    stack: ExitStack
    made: dict[str, Shop] = field(default_factory=dict)

    def get(self, kind: str) -> Shop:
        if kind not in self.made:
            self.made[kind] = self._make(kind)
        return self.made[kind]

    def _make(self, kind: str) -> Shop:
        if kind == "sqlite":
            return sqlite_shop(self.sample)
        if kind == "postgresql":
            url = self.stack.enter_context(servers.postgresql())
            return postgresql_shop(url, self.sample)
        url = self.stack.enter_context(servers.mariadb())
        return mariadb_shop(url, self.sample, self.directories.mktemp("rows"))


@pytest.fixture(scope="session")
def shops(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shops]:
    with ExitStack() as stack:
        yield _Shops(sample, tmp_path_factory, stack)


@pytest.fixture(scope="session", params=KINDS)
def shop(request: pytest.FixtureRequest, shops: _Shops) -> Shop:
    """Each database in turn."""
    return shop_of(shops, request.param)


@pytest.fixture(scope="session", params=KINDS[1:])
def server(request: pytest.FixtureRequest, shops: _Shops) -> Shop:
    """Each database that is a server in turn."""
    return shop_of(shops, request.param)


@pytest.fixture(scope="session")
def sqlite_only(shops: _Shops) -> Shop:
    return shops.get("sqlite")


@pytest.fixture(scope="session")
def postgresql_only(shops: _Shops) -> Shop:
    return shop_of(shops, "postgresql")


@pytest.fixture(scope="session")
def mariadb_only(shops: _Shops) -> Shop:
    return shop_of(shops, "mariadb")


def shop_of(shops: _Shops, kind: str) -> Shop:
    """A database, unless its server is not installed."""
    names = {"postgresql": "PostgreSQL", "mariadb": "MariaDB"}
    if names.get(kind) in servers.missing():
        why = f"{names[kind]} is not installed: {servers.HOW_TO_GET}"
        if os.environ.get(NEEDED) == "1":
            pytest.fail(f"{why} ({NEEDED} is 1)", pytrace=False)
        pytest.skip(why)
    return shops.get(kind)


@pytest.fixture(autouse=True)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tool reads the test's database, unless the test says otherwise."""
    for name in list(os.environ):
        if name.startswith("DATABASE_TOOL_"):
            monkeypatch.delenv(name)
    for fixture in ("shop", "server", "sqlite_only", "postgresql_only", "mariadb_only"):
        if fixture in request.fixturenames:
            shop: Shop = request.getfixturevalue(fixture)
            monkeypatch.setenv("DATABASE_TOOL_URL", shop.reader)
            monkeypatch.setenv("DATABASE_TOOL_STATEMENT_TIMEOUT_S", "60")


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements go to the database as they are."""
    monkeypatch.setattr(
        _database_transaction, "checked", lambda sql, **_: Statement(sql, writes=False)
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was left out, where nobody asked for the reasons of skipped tests."""
    left_out = [
        report
        for report in terminalreporter.getreports("skipped")
        if servers.HOW_TO_GET in str(report.longrepr)
    ]
    if left_out:
        terminalreporter.write_line(
            f"{len(left_out)} tests of the database tool were left out, since not installed: "
            f"{', '.join(servers.missing())}; get them with: {servers.HOW_TO_GET}"
        )
