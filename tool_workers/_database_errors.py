"""What can be wrong with a statement, and with the database that it is for."""

from __future__ import annotations


class DatabaseUnavailable(Exception):
    """The database cannot be connected to; the worker's stderr says more."""


class DatabaseRefused(Exception):
    """The database, or who we are in it, is none that this tool serves; the message says why."""


class StatementError(Exception):
    """A statement that did not run to its end; the kinds below say why."""


class NotOneStatement(StatementError):
    """A string that holds no statement, or several."""


class SqlSyntaxError(StatementError):
    """A text that is no SQL."""


class StatementRefused(StatementError):
    """A statement, or a part of one, that is never allowed."""


class NotReadOnly(StatementError):
    """A statement that writes, where only reading is allowed."""


class StatementFailed(StatementError):
    """The database refused a statement."""


class StatementTimeout(StatementError):
    """A statement ran into its time limit."""
