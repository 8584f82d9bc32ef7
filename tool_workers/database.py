"""The database tool: each SQL statement runs as soon as its string is complete."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from sgl_conveyor.errors import ConfigurationError, InvalidArguments
from sgl_conveyor.tools import Tool
from tool_workers._database_errors import DatabaseRefused, DatabaseUnavailable, StatementError
from tool_workers._database_sample import sample_database
from tool_workers._database_server import Target
from tool_workers._database_transaction import Change, Rows, Transaction

MAX_STATEMENTS = 20
_STATEMENT = re.compile(r"statements\[(\d+)\]", re.ASCII)


class Settings(BaseSettings):
    """The tool's configuration: environment variables that begin with `DATABASE_TOOL_`.

    Args:
        url: the database, in SQLAlchemy's form: `sqlite`, `postgresql` or `mariadb`; by default a
            sample that is made on first need.
        write: whether INSERT, UPDATE and DELETE are allowed.
        role: that PostgreSQL or MariaDB is told to act as, once connected.
        max_rows: rows of one query's result.
        statement_timeout_s: seconds for one statement.
    """

    model_config = SettingsConfigDict(
        env_prefix="DATABASE_TOOL_", env_ignore_empty=True, hide_input_in_errors=True
    )

    url: str | None = None
    write: bool = False
    role: str | None = None
    max_rows: int = Field(default=200, ge=1, le=100_000)
    statement_timeout_s: float = Field(default=10.0, gt=0, le=3600)


class BadSettings(Exception):
    """The operator's configuration cannot be used."""


class ArgumentsDiffer(Exception):
    """The arguments as a whole are not what ran, one by one, while they were written."""


class Database(Tool):
    """Run SQL statements on a database, in one transaction, and return what each gave.

    Unless the operator configured another, it is a shop's, in SQLite, and can only be read:
    customers (id, name, email, country, city, segment, joined_on), products (id, name, category,
    price, cost, stock), orders (id, customer_id, ordered_on, status, channel), order_items
    (order_id, product_id, quantity, unit_price, discount).
    """

    class Args(BaseModel):
        model_config = ConfigDict(extra="forbid")

        statements: list[str] = Field(
            min_length=1,
            max_length=MAX_STATEMENTS,
            description="SQL statements, one a string; they run in this order, and the first that "
            "fails ends the call.",
        )

    workers = 2
    # What is not committed dies with its connection.
    replayable = True

    def __init__(self) -> None:
        self._transaction: Transaction | None = None
        self._ran: list[str] = []
        self._results: list[Rows | Change] = []

    @classmethod
    def start(cls) -> None:
        """Refuse at once what could never be served, and have the connection ready.

        Raises:
            ConfigurationError: the settings are wrong, or the database is none to be served.
        """
        try:
            settings = _settings()
            if settings.url is not None:
                target = _target(settings, settings.url)
                Transaction(target).rollback()
        except (BadSettings, DatabaseRefused) as error:
            raise ConfigurationError(f"the tool 'database' cannot be served: {error}") from None
        except DatabaseUnavailable:
            pass  # it may come later; what was printed says why

    def open(self) -> None:
        settings = _settings()
        url = settings.url or f"sqlite:///{sample_database()}"
        self._transaction = Transaction(_target(settings, url))

    def on_argument(self, path: str, value: Any) -> None:
        found = _STATEMENT.fullmatch(path)
        if found is None:
            return
        number = int(found[1]) + 1
        if number != len(self._ran) + 1:
            raise ArgumentsDiffer("`statements` is given more than once: nothing was changed")
        if number > MAX_STATEMENTS:
            raise InvalidArguments(f"there are more than {MAX_STATEMENTS} statements")
        if not isinstance(value, str):
            raise InvalidArguments(f"statement {number} is not a string")
        assert self._transaction is not None
        try:
            self._results.append(self._transaction.run(value))
        except StatementError as error:
            raise type(error)(f"statement {number}: {error}") from None
        self._ran.append(value)

    def finish(self) -> list[Rows | Change]:
        if self.args.statements != self._ran:
            raise ArgumentsDiffer("the arguments are not the statements that ran: nothing changed")
        assert self._transaction is not None
        self._transaction.commit()
        return self._results

    def abort(self, reason: str) -> None:
        if self._transaction is not None:
            self._transaction.rollback()


def _target(settings: Settings, url: str) -> Target:
    return Target(
        url=url,
        write=settings.write,
        statement_timeout_s=settings.statement_timeout_s,
        max_rows=settings.max_rows,
        role=settings.role,
    )


def _settings() -> Settings:
    try:
        settings = Settings()
    except ValidationError as error:
        names = ", ".join(f"DATABASE_TOOL_{str(e['loc'][0]).upper()}" for e in error.errors())
        raise BadSettings(f"the server's configuration has no valid {names}") from None
    if settings.write and settings.url is None:
        raise BadSettings(
            "DATABASE_TOOL_WRITE needs a DATABASE_TOOL_URL: the sample is not written"
        )
    return settings
