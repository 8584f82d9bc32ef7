"""One real server for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.workloads.search_service import running_service
from tests.runtime.servers import Server, conveyor_server

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


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    config = folder / "tools.toml"
    flags = [
        *("--tools", *TOOLS, "--tools-config", str(config)),
        *("--max-running-requests", str(MAX_RUNNING), "--conveyor-drain", "1"),
    ]
    with running_service(rtt_ms=20) as search:
        config.write_text(
            "[search.environment]\n"
            f'SEARCH_URL = "{search.url}"\nSEARCH_CA = "{search.ca}"\nSEARCH_ALLOW_PRIVATE = "1"\n'
        )
        with conveyor_server(folder / "log", *flags, api_key="a-test-key") as server:
            yield server


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
