"""What a run says of the tests whose servers are not installed: in CI, that it has failed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.tool_workers.database import servers

PROGRAM = """
import sys, pytest
from tests.tool_workers.database import servers
servers.missing = lambda: ["MariaDB"]
sys.exit(pytest.main(["-p", "no:cacheprovider", sys.argv[1]]))
"""
TEST = "tests/tool_workers/database/test_settings.py::test_what_is_served_starts[mariadb]"


@pytest.mark.parametrize("needed", ["0", "1"])
def test_what_is_left_out_is_said_and_in_ci_a_failure(needed: str) -> None:
    environment = {**os.environ, "CONVEYOR_NEED_DATABASES": needed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, TEST], capture_output=True, text=True, env=environment
    )
    output = done.stdout + done.stderr
    assert done.returncode == int(needed), output
    if needed == "1":
        assert "MariaDB is not installed" in output
    else:
        assert "1 tests of the database tool were left out, since not installed: MariaDB" in output
    assert servers.HOW_TO_GET in output
