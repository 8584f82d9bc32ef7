"""Calls of the database tool, and what they gave."""

from __future__ import annotations

import json
from typing import Any

from sgl_conveyor.core import ToolError, ToolResult
from sgl_conveyor.testing import run_tool
from tool_workers.database import Database


def text_of(*statements: str) -> str:
    """A region's text."""
    return json.dumps({"statements": statements})


def run(*statements: str, **options: Any) -> ToolResult:
    """Run a call to its end."""
    return run_tool(Database, text_of(*statements), **options).result


def rows(statement: str) -> list[list[Any]]:
    """The rows of a query that succeeds."""
    result = run(statement)
    assert result.error is None, result.error
    return result.value[0]["rows"]  # type: ignore[no-any-return]


def error(*statements: str) -> ToolError:
    """The error of a call that fails."""
    result = run(*statements)
    assert result.error is not None, result.value
    return result.error
