"""SQLite, opened so that it enforces what a statement may do, and how long it may take."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from tool_workers._database_errors import StatementError, StatementRefused, StatementTimeout
from tool_workers._database_functions import FUNCTIONS
from tool_workers._database_guard import NOTHING, Known, Statement
from tool_workers._database_server import Answer, T, Target, streamed

#: Bytes that SQLite may hold in memory: its caches, sorters and temporary tables together.
#: It sorts them in one go, which nothing interrupts: with more, that would go on for long.
MAX_MEMORY_BYTES = 64 * 1024**2
#: Seconds beyond the limit after which a statement that cannot be interrupted is left alone.
_GRACE_S = 0.5
#: Instructions of its virtual machine between two looks at the clock: about a millisecond.
_INSTRUCTIONS = 20_000
_LIMITS = {
    # One call of a function cannot be interrupted, and some are quadratic (`ltrim`, `instr`).
    sqlite3.SQLITE_LIMIT_LENGTH: 50_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
#: What sqlite3's module does not name: a recursive query.
_SQLITE_RECURSIVE = 33
_READS = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, _SQLITE_RECURSIVE,
}  # fmt: skip
_WRITES = {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
#: What a statement may call, by name or by an operator.
_FUNCTIONS = FUNCTIONS["sqlite"] | {"->", "->>"}
#: Functions that not even a view or trigger calls: they reach files or libraries, run Python's `re`
#: without a limit, or write billions of characters before they see that there is none for them (a
#: width in `printf`).
_REFUSED_FUNCTIONS = {
    "edit", "format", "fts3_tokenizer", "load_extension", "printf", "readfile", "regexp",
    "writefile",
}  # fmt: skip


class Sqlite:
    """A file of SQLite."""

    dialect = "sqlite"

    def __init__(self, url: URL, target: Target) -> None:
        self._path = Path(url.database or "")
        self._target = target

    def engine(self) -> Engine:
        engine = create_engine(
            "sqlite://",
            creator=self._connect,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=5,
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # Without this the module begins a transaction only before a change.
            connection.exec_driver_sql("BEGIN")

        return engine

    def known(self) -> Known:
        return NOTHING

    def in_time(self, connection: Connection, work: Callable[[], T]) -> T:
        driver = connection.connection.driver_connection
        assert isinstance(driver, _Connection)
        write, limit_s = self._target.write, self._target.statement_timeout_s
        deadline = time.monotonic() + limit_s
        done: Future[T] = Future()

        def run() -> None:
            try:
                with guarded(driver, write=write, limit_s=limit_s):
                    done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        # SQLite asks nobody while it sorts: whoever waits for that must be another thread.
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            result = done.result(deadline + _GRACE_S - time.monotonic())
        except TimeoutError:
            # Of ours, or of what ran: that has ended.
            if not done.done():
                driver.leave_to(thread)
                connection.invalidate()
            raise self._timeout() from None
        thread.join()
        if time.monotonic() > deadline:
            raise self._timeout()
        return result

    def committing(self, connection: Connection) -> AbstractContextManager[None]:
        return nullcontext()

    def check(self, connection: Connection, statement: Statement) -> None:
        """Whatever SQLite's tables hold can be undone."""

    def answer(
        self, connection: Connection, statement: Statement
    ) -> AbstractContextManager[Answer]:
        return streamed(connection, statement, self._target)

    def failure(self, error: BaseException | None) -> StatementError | None:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_INTERRUPT:
            return self._timeout()
        if code == sqlite3.SQLITE_AUTH:
            return StatementRefused("the database does not allow this statement")
        return None

    def _timeout(self) -> StatementTimeout:
        return StatementTimeout(f"it ran longer than {self._target.statement_timeout_s:g} s")

    def _connect(self) -> sqlite3.Connection:
        target = self._target
        return connect(self._path, write=target.write, wait_s=target.statement_timeout_s)


class _Connection(sqlite3.Connection):
    """A connection that can be left to a thread which still runs a statement on it."""

    _left = False

    def leave_to(self, thread: threading.Thread) -> None:
        """Have it closed once the thread has ended: to close it now would wait for that."""
        self._left = True

        def close() -> None:
            thread.join()
            sqlite3.Connection.close(self)

        threading.Thread(target=close, daemon=True).start()

    def close(self) -> None:
        if not self._left:
            super().close()


def connect(path: Path, *, write: bool, wait_s: float) -> sqlite3.Connection:
    """Open a file that exists.

    Args:
        path: the file.
        write: whether it may be written.
        wait_s: seconds to wait for another writer.

    Raises:
        sqlite3.OperationalError: it cannot be opened.
    """
    uri = f"file:{quote(str(path.absolute()))}?mode={'rw' if write else 'ro'}"
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        timeout=wait_s,
        check_same_thread=False,
        factory=_Connection,
    )
    for category, limit in _LIMITS.items():
        connection.setlimit(category, limit)
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.execute(f"PRAGMA hard_heap_limit = {MAX_MEMORY_BYTES}")
    # In memory, where that limit holds, instead of a file that may fill the disk.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute(f"PRAGMA {'foreign_keys' if write else 'query_only'} = ON")
    return connection


@contextmanager
def guarded(connection: sqlite3.Connection, *, write: bool, limit_s: float) -> Iterator[None]:
    """While entered, a statement can only read (or change rows), and is interrupted in time.

    Args:
        connection: what `connect` gave.
        write: whether rows may be changed.
        limit_s: seconds for all that runs here.
    """
    deadline = time.monotonic() + limit_s
    connection.set_authorizer(_authorizer(write))
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _INSTRUCTIONS)
    try:
        yield
    finally:
        connection.set_progress_handler(None, 0)
        connection.set_authorizer(None)


Authorizer = Callable[[int, str | None, str | None, str | None, str | None], int]


def _authorizer(write: bool) -> Authorizer:
    def authorize(
        action: int, first: str | None, second: str | None, _db: str | None, within: str | None
    ) -> int:
        if action == sqlite3.SQLITE_FUNCTION:
            name = (second or "").lower()
            allowed = name not in _REFUSED_FUNCTIONS if within else name in _FUNCTIONS
        elif action in _WRITES:
            allowed = write and not (first or "").lower().startswith("sqlite_")
        else:
            allowed = action in _READS
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY

    return authorize
