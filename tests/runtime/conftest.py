"""One real server for all tests of this folder, and which tests need one.

`-m server` takes the tests with a real server, `-m "not server"` the others: nobody marks them by
hand, but those that start SGLang without a fixture of this folder.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.workloads.search_service import running_service
from tests.runtime.servers import (
    START_LIMIT_S,
    STARTS,
    Server,
    Starting,
    starting_conveyor,
    starting_stock,
)

TOOLS = (
    "python",
    "search",
    "planning",
    "validation",
    "database",
    "calculator",
    "programs.plan_tools:mean",
    "programs.plan_tools:compute_ratio",
    "tests.tools.puppet:Puppet",
    "tests.tools.puppet:Nothing",
    "tests.tools.puppet:Strict",
)
#: Requests that SGLang decodes at once here: a further one waits in its queue.
MAX_RUNNING = 4


FOLDER = Path(__file__).parent
#: A module of programs: nothing in it is tested without a server, and SGLang takes ten seconds.
_PROGRAMS = re.compile(r"^import sglang as sgl$", re.MULTILINE)


def has_programs(path: Path) -> bool:
    """Whether a test module imports SGLang for its programs."""
    return path.suffix == ".py" and bool(_PROGRAMS.search(path.read_text()))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Without servers, SGLang is not imported for tests that are left out anyway."""
    left_out = config.getoption("markexpr") == "not server"
    return True if left_out and has_programs(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests with a server; the stock one is needed first, and is gone then."""
    ours = [item for item in items if FOLDER in item.path.parents]
    for item in ours:
        fixtures = getattr(item, "fixturenames", ())
        with_server = any(name == "stock" or name.endswith("server") for name in fixtures)
        if with_server or has_programs(item.path):
            item.add_marker(pytest.mark.server)
            # A test's time counts from its fixtures on, and two servers load on two cores.
            item.add_marker(pytest.mark.timeout(2 * START_LIMIT_S))
    last = [item for item in items if item.path.name == "test_ends.py"]
    first = [item for item in items if item.path.name == "test_stock.py"]
    rest = [item for item in items if item not in {*first, *last}]
    items[:] = [*first, *rest, *last]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many servers were started, and how long that took."""
    if STARTS:
        terminalreporter.section(f"{len(STARTS)} servers started")
        for start in STARTS:
            terminalreporter.line(f"{start.seconds:6.1f} s  {start.kind}")
        total = sum(start.seconds for start in STARTS)
        terminalreporter.line(f"{total:6.1f} s  in all, some of them at the same time")


@dataclass
class Beginning:
    """Our server, and a stock one if a test asks for it."""

    ours: Starting
    stock: Starting | None


@pytest.fixture(scope="session")
def beginning(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Beginning]:
    """Both begin at once: each loads on one core."""
    folder = tmp_path_factory.mktemp("server")
    config = folder / "tools.toml"
    flags = [
        *("--tools", *TOOLS, "--tools-config", str(config)),
        *("--max-running-requests", str(MAX_RUNNING), "--conveyor-drain", "1"),
    ]
    compared = any("stock" in getattr(i, "fixturenames", ()) for i in request.session.items)
    with contextlib.ExitStack() as stack:
        search = stack.enter_context(running_service(rtt_ms=20))
        config.write_text(
            "[search.environment]\n"
            f'SEARCH_URL = "{search.url}"\nSEARCH_CA = "{search.ca}"\nSEARCH_ALLOW_PRIVATE = "1"\n'
        )
        ours = starting_conveyor(folder / "log", *flags, api_key="a-test-key")
        started = stack.enter_context(ours)
        stock = stack.enter_context(starting_stock(folder / "stock")) if compared else None
        yield Beginning(started, stock)


@pytest.fixture(scope="session")
def server(beginning: Beginning) -> Server:
    """Our server, for all."""
    return beginning.ours.wait()


@pytest.fixture(scope="module")
def stock(beginning: Beginning) -> Iterator[Server]:
    """A stock server beside ours, for one module."""
    assert beginning.stock is not None
    yield beginning.stock.wait()
    beginning.stock.end()


@dataclass
class ToEnd:
    """Servers whose processes are killed: one that starts SGLang again, one that does not."""

    restarting: Starting
    plain: Starting


@pytest.fixture(scope="session")
def to_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToEnd]:
    """Both begin to load."""
    folder = tmp_path_factory.mktemp("to-end")
    puppet = ("--tools", "tests.tools.puppet:Puppet")
    with contextlib.ExitStack() as stack:
        again = starting_conveyor(folder / "restarting", *puppet, "--conveyor-restart", "2")
        plain = starting_conveyor(folder / "plain", *puppet)
        yield ToEnd(stack.enter_context(again), stack.enter_context(plain))


@pytest.fixture(autouse=True)
def _those_to_end_load_meanwhile(request: pytest.FixtureRequest) -> None:
    """While the other tests decode on one core, the servers of the last ones load on the other."""
    needed = any("to_end" in getattr(i, "fixturenames", ()) for i in request.session.items)
    if needed and "server" in request.fixturenames and "stock" not in request.fixturenames:
        request.getfixturevalue("to_end")


@pytest.fixture
def backend(server: Server) -> Iterator[None]:
    """Programs run on the server."""
    # SGLang takes seconds to import: only those who run programs pay for it.
    import sglang as sgl

    from sgl_conveyor import ConveyorEndpoint

    sgl.set_default_backend(ConveyorEndpoint(server.url, api_key=server.api_key))
    yield
    sgl.set_default_backend(None)


@pytest.fixture
def logged(server: Server) -> Iterator[None]:
    """Shows the end of the server's log when a test has failed."""
    yield
    print("\n".join(Path(server.log).read_text(errors="replace").splitlines()[-30:]))
