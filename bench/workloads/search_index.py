"""A full-text index over Python's own documentation: real text that is on every machine."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import importlib
import os
import platform
import re
import sqlite3
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Folders of the standard library that hold no documentation for its users.
_LEFT_OUT = {"test", "tests", "site-packages", "idlelib", "lib2to3", "encodings", "__pycache__"}
_MAX_TEXT_CHARS = 8000
_LIBRARY = "https://docs.python.org/3/library"
_REFERENCE = "https://docs.python.org/3/reference"
_SOURCE = "https://github.com/python/cpython/blob/3.11/Lib"


class Page(NamedTuple):
    """One page of the index."""

    title: str
    url: str
    content: str


def open_index(directory: Path) -> sqlite3.Connection:
    """The index, built on the first use (a few seconds) and read from then on.

    Args:
        directory: where it is kept.
    """
    path = directory / f"pages-{platform.python_version()}.sqlite"
    with locked(directory):
        if not path.exists():
            unfinished = path.with_suffix(f".{os.getpid()}")
            _build(unfinished)
            unfinished.replace(path)
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Make a directory, and be the only process that fills it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find(index: sqlite3.Connection, query: str, count: int) -> list[Page]:
    """The pages that fit a query best.

    Args:
        index: what `open_index` gave.
        query: words; `site:HOST` among them keeps only the pages of that host.
        count: how many at most.
    """
    sites = re.findall(r"\bsite:(\S+)", query)
    words = re.findall(r"\w+", re.sub(r"\bsite:\S+", " ", query))
    if not words:
        return []
    rows = index.execute(
        "SELECT title, url, snippet(pages, 2, '', '', ' … ', 48) FROM pages WHERE pages MATCH ?"
        " AND (? OR site = ? OR site LIKE '%.' || ?) ORDER BY bm25(pages, 4, 0, 1), url LIMIT ?",
        (
            " OR ".join(f'"{word}"' for word in words),
            not sites,
            *([sites[0].lower()] * 2 if sites else ["", ""]),
            count,
        ),
    )
    return [Page(*row) for row in rows]


def _build(path: Path) -> None:
    path.unlink(missing_ok=True)
    index = sqlite3.connect(path)
    index.execute(
        "CREATE VIRTUAL TABLE pages USING fts5"
        "(title, url UNINDEXED, content, site UNINDEXED, tokenize = 'porter unicode61')"
    )
    with index:
        index.executemany(
            "INSERT INTO pages VALUES (?, ?, ?, ?)",
            ((*page, page.url.split("/")[2]) for page in _pages()),
        )
    index.close()


def _pages() -> Iterator[Page]:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.rglob("*.py")):
        relative = path.relative_to(library)
        if not _LEFT_OUT.intersection(relative.parts[:-1]):
            yield from _pages_of(path, relative)
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    for name, text in topics.items():
        title = f"{name} (The Python Language Reference)"
        yield Page(title, f"{_REFERENCE}/{name}.html", text[:_MAX_TEXT_CHARS])


def _pages_of(path: Path, relative: Path) -> Iterator[Page]:
    """A page for each docstring; what is private is found at its source."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    for name, node in _documented(tree, module):
        text = ast.get_docstring(node)
        if not text:
            continue
        if any(part.startswith("_") and not part.endswith("__") for part in name.split(".")):
            url = f"{_SOURCE}/{relative}#L{getattr(node, 'lineno', 1)}"
        else:
            url = f"{_LIBRARY}/{module}.html#{name}"
        yield Page(name, url, text[:_MAX_TEXT_CHARS])


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _documented(node: _Documented, name: str) -> Iterator[tuple[str, _Documented]]:
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _documented(child, f"{name}.{child.name}")
