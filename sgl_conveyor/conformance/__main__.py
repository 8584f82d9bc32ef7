"""python -m sgl_conveyor.conformance: make a sandbox, and check in a moment what it keeps."""

from __future__ import annotations

import sys

from sgl_conveyor.conformance.checks import quick_checks, what_is_weaker
from sgl_conveyor.conformance.run import run_checks
from sgl_conveyor.dispatcher.hosts.local import LocalHost
from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.processes import configure_logging
from sgl_conveyor.worker.sandbox import check


def main() -> int:
    """Say on stderr what is wrong; returns the exit code, 2 if anything is."""
    configure_logging("check", "critical")
    try:
        check()
        weaker = what_is_weaker(run_checks(quick_checks(), LocalHost(unsafe=False)))
    except ConfigurationError as error:
        weaker = str(error)
    if weaker is None:
        return 0
    print(weaker, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
