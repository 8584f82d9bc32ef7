"""What the report reads of the other benches' files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from bench.results import Overhead
from bench.statistics import Interval

__all__ = ["Cell", "Grid", "Overhead", "grids"]


Cell = str | int | float | bool | None


class Grid(msgspec.Struct, frozen=True):
    """Any file as rows of cells: a list of objects in it is a table, the rest is name and value."""

    header: list[str]
    rows: list[list[Cell]]


def grids(path: Path) -> list[Grid]:
    """Read a file whose shape is its writer's.

    Args:
        path: of a JSON file.

    Raises:
        msgspec.DecodeError: it is no JSON.
    """
    document = msgspec.json.decode(path.read_bytes())
    if not isinstance(document, dict):
        document = {"rows": document}
    document.pop("machine", None)
    tables, rest = [], {}
    for name, value in document.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            rows = [dict(_flat(row)) for row in value]
            header = list(dict.fromkeys(key for row in rows for key in row))
            tables.append(Grid(header, [[row.get(key) for key in header] for row in rows]))
        else:
            rest[name] = value
    found = [[key, value] for key, value in _flat(rest)]
    return [*([Grid(["figure", "value"], found)] if found else []), *tables]


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Cell]]:
    """Each figure with the names on the way to it; an interval is one figure."""
    if isinstance(value, dict) and value.keys() == {"value", "low", "high"}:
        yield name, str(Interval(**value))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        yield name, f"{len(value)} values" if len(value) > 8 else ", ".join(map(str, value))
    else:
        yield name, value
