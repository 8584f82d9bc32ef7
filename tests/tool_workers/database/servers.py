"""Private instances of PostgreSQL and MariaDB: on loopback, in a folder of ours, ended with us."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from sgl_conveyor.processes import die_with_parent

HOW_TO_GET = "sudo apt-get install postgresql mariadb-server"
#: Seconds within which a server answers.
_START_LIMIT_S = 60
#: The name of who owns everything on both.
OWNER = "owner"
_PASSWORD = "loopback-only"  # MariaDB lets nobody in without one whom it has not made itself
_DEBIANS_POSTGRESQL = Path("/usr/lib/postgresql")


def postgresql_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, Debian's newest or what is on PATH, or None."""
    folders = sorted(
        _DEBIANS_POSTGRESQL.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
    )
    found = shutil.which("initdb")
    folders += [Path(found).parent] if found else []
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def mariadb_programs() -> tuple[str, str] | None:
    """`mariadb-install-db` and `mariadbd`, or None; an ordinary user's PATH has no /usr/sbin."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin"
    install, server = (shutil.which(name, path=path) for name in ("mariadb-install-db", "mariadbd"))
    return (install, server) if install and server else None


def missing() -> list[str]:
    """The servers that are not installed here."""
    return [
        name
        for name, programs in {
            "PostgreSQL": postgresql_programs(),
            "MariaDB": mariadb_programs(),
        }.items()
        if programs is None
    ]


@contextmanager
def postgresql() -> Iterator[str]:
    """A new PostgreSQL, as long as this is entered: the URL of `postgres`, as the superuser."""
    programs = postgresql_programs()
    assert programs is not None
    with _directory("postgres") as (directory, who), _postgresql(programs, directory, who) as url:
        yield url


@contextmanager
def _postgresql(programs: Path, directory: Path, who: dict[str, Any]) -> Iterator[str]:
    data, port = directory / "data", _free_port()
    options = {
        "port": port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "full_page_writes": "off",
        "autovacuum": "off",
        "shared_buffers": "64MB",
        "max_connections": 40,
    }
    initdb = [programs / "initdb", "-D", data, "-U", OWNER, "--auth=trust", "--no-sync"]
    _run([*initdb, "--encoding=UTF8", "--locale=C.UTF-8"], who, directory)
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]

    def answers() -> None:
        address = {"host": "127.0.0.1", "port": port, "user": OWNER, "dbname": "postgres"}
        psycopg.connect(**address, connect_timeout=5).close()  # type: ignore[arg-type]

    # "Fast": sessions end, and it does not wait for them.
    server = [programs / "postgres", "-D", data, *settings]
    with _running(server, who, directory, answers, signal.SIGINT):
        yield f"postgresql://{OWNER}@127.0.0.1:{port}/postgres"


@contextmanager
def mariadb() -> Iterator[str]:
    """A new MariaDB, as long as this is entered: its URL, as a user who may do everything."""
    programs = mariadb_programs()
    assert programs is not None
    with _directory("mysql") as (directory, who), _mariadb(*programs, directory, who) as url:
        yield url


@contextmanager
def _mariadb(install: str, daemon: str, directory: Path, who: dict[str, Any]) -> Iterator[str]:
    data, port = directory / "data", _free_port()
    where = ["--no-defaults", f"--datadir={data}"]
    _run([install, *where, "--auth-root-authentication-method=normal", "--skip-test-db"],
         who, directory)  # fmt: skip
    start = directory / "start.sql"
    start.write_text(
        f"CREATE USER {OWNER}@'127.0.0.1' IDENTIFIED BY '{_PASSWORD}';\n"
        f"GRANT ALL ON *.* TO {OWNER}@'127.0.0.1' WITH GRANT OPTION;\n"
    )
    start.chmod(0o644)
    server = [
        daemon, *where, f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve",
        f"--socket={directory / 's'}", f"--pid-file={directory / 'pid'}", f"--init-file={start}",
        "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-log-bin",
        "--character-set-server=utf8mb4", "--secure-file-priv=", "--local-infile=1",
    ]  # fmt: skip

    def answers() -> None:
        pymysql.connect(
            host="127.0.0.1", port=port, user=OWNER, password=_PASSWORD, connect_timeout=5
        ).close()

    with _running(server, who, directory, answers, signal.SIGTERM):
        yield f"mariadb://{OWNER}:{_PASSWORD}@127.0.0.1:{port}/"


@contextmanager
def _directory(user: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder, and how a program in it is started: as this user, unless that is root."""
    with tempfile.TemporaryDirectory(prefix="conveyor-database-") as name:
        directory, who = Path(name), {}
        if os.getuid() == 0:
            entries = {entry.pw_name: entry for entry in pwd.getpwall()}
            entry = entries.get(user) or entries["nobody"]
            os.chown(directory, entry.pw_uid, entry.pw_gid)
            who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        yield directory, who


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: list[Any], who: dict[str, Any], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **who
    )
    assert done.returncode == 0, done.stdout.decode()


@contextmanager
def _running(
    command: list[Any],
    who: dict[str, Any],
    directory: Path,
    answers: Callable[[], None],
    end: signal.Signals,
) -> Iterator[None]:
    log = directory / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            preexec_fn=die_with_parent(), **who,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _START_LIMIT_S
        while True:
            try:
                answers()
                break
            except (psycopg.OperationalError, pymysql.OperationalError):
                dead = process.poll() is not None
                assert not dead and time.monotonic() < deadline, log.read_text()  # noqa: PT018
                time.sleep(0.05)
        yield
    finally:
        process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
