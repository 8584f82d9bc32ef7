"""The sample shop on a real server, with the users that docs/databases.md makes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from sqlalchemy import make_url

GUIDE = Path(__file__).parents[3] / "docs" / "databases.md"
TABLES = ("customers", "products", "orders", "order_items")
_PASSWORD = "a-long-password"
#: What users may have made: functions, one with the name of the server's own, a sequence, a type.
_CODE = {
    "postgresql": (
        "CREATE FUNCTION total(orders) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION upper(orders) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$",
        "CREATE SEQUENCE numbers",
        "CREATE DOMAIN checked AS int",
    ),
    "mariadb": (
        "CREATE FUNCTION total(x INT) RETURNS INT RETURN 1",
        "CREATE SEQUENCE numbers",
    ),
}


@dataclass(frozen=True)
class Shop:
    """A database with the sample in it.

    Args:
        kind: `sqlite`, `postgresql` or `mariadb`.
        reader, writer, owner: URLs.
    """

    kind: str
    reader: str
    writer: str
    owner: str

    def connect(self) -> Any:
        """A connection of the owner's, that commits each statement at once."""
        url = make_url(self.owner)
        if self.kind == "sqlite":
            return sqlite3.connect(str(url.database), isolation_level=None, timeout=60)
        if self.kind == "postgresql":
            return psycopg.connect(
                host=url.host, port=url.port, user=url.username, dbname=url.database,
                autocommit=True,
            )  # fmt: skip
        return pymysql.connect(
            host=str(url.host), port=url.port or 0, user=url.username, password=str(url.password),
            database=url.database, autocommit=True, local_infile=True,
        )  # fmt: skip

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the owner; the rows of the last one."""
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


def sqlite_shop(sample: Path) -> Shop:
    """The sample where it is."""
    url = f"sqlite:///{sample}"
    return Shop("sqlite", url, url, url)


def postgresql_shop(server: str, sample: Path) -> Shop:
    """The sample in a new database `shop` of a server, whose superuser's URL is given."""
    Shop("postgresql", "", "", server).run("CREATE DATABASE shop")
    shop = _shop("postgresql", server)
    with closing(sqlite3.connect(sample)) as source, closing(shop.connect()) as connection:
        for statement in _schema(source):
            connection.execute(statement.replace("REAL", "NUMERIC"))
        for table in TABLES:
            with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in source.execute(f"SELECT * FROM {table}"):
                    copy.write_row(row)
        connection.execute("ANALYZE")
    shop.run(*_CODE["postgresql"], *guide_statements("PostgreSQL"))
    return shop


def mariadb_shop(server: str, sample: Path, directory: Path) -> Shop:
    """The same on a MariaDB; its rows go through files in a folder."""
    Shop("mariadb", "", "", server).run("CREATE DATABASE shop CHARACTER SET utf8mb4")
    shop = _shop("mariadb", server)
    with closing(sqlite3.connect(sample)) as source, closing(shop.connect()) as connection:
        cursor = connection.cursor()
        for statement in _schema(source):
            cursor.execute(
                statement.replace("REAL", "DECIMAL(12, 4)").replace("TEXT", "VARCHAR(99)")
            )
        for table in TABLES:
            rows = directory / f"{table}.tsv"
            with rows.open("w", encoding="utf-8") as file:
                for row in source.execute(f"SELECT * FROM {table}"):
                    file.write("\t".join(map(str, row)) + "\n")
            cursor.execute(
                f"LOAD DATA LOCAL INFILE '{rows}' INTO TABLE {table} CHARACTER SET utf8mb4"
            )
    shop.run(*_CODE["mariadb"], *guide_statements("MariaDB"))
    return shop


def guide_statements(database: str) -> list[str]:
    """The statements that docs/databases.md gives for a database, in their order."""
    blocks = re.findall(r"```sql\n-- (\w+): [^\n]*\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    found = [
        statement.strip()
        for name, block in blocks
        if name == database
        for statement in block.split(";\n")
        if statement.strip()
    ]
    assert found, f"docs/databases.md has no statements for {database}"
    return found


def _schema(source: sqlite3.Connection) -> list[str]:
    # Tables before indexes.
    found = source.execute(
        "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
        "ORDER BY type DESC, rowid"
    )
    return [statement for (statement,) in found]


def _shop(kind: str, server: str) -> Shop:
    owner = make_url(server).set(database="shop")
    reader, writer = (
        owner.set(username=f"conveyor_{name}", password=_PASSWORD) for name in ("reader", "writer")
    )
    texts = [url.render_as_string(hide_password=False) for url in (reader, writer, owner)]
    return Shop(kind, *texts)
