"""Imports point downwards and run in no circle; the files are read, not imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "sgl_conveyor"
#: From the ground up: a room imports from its own floor and those beneath.
FLOORS = (
    # Nouns.
    {"errors", "specs", "timings", "core", "events", "record", "encodable", "literal"},
    # What crosses a process boundary, and what a tool author sees.
    {
        "messages",
        "channel",
        "frames",
        "stream",
        "syscall_filter",
        "cgroup",
        "processes",
        "supervision",
        "tools",
        "describe",
        "units",
    },
    # What looks at these, without I/O or once at a start.
    {
        "life",
        "heard",
        "returned",
        "driver",
        "theory",
        "chrome_trace",
        "tools_table",
        "embedded_model",
    },
    # The processes.
    {"frontend", "runtime", "dispatcher", "worker"},
    # What puts processes together: the launcher, its configuration, the public names, the commands.
    {"tools_config", "launcher", "launch_server", "testing", "conformance", "demo", "cli", ""},
)
PROCESSES = FLOORS[3]
PURE = {"units", "theory", "life", "events", "record"}
IMPURE = {"asyncio", "zmq", "sglang", "httpx", "subprocess"}
#: Who is not imported, and by whom nevertheless: shipped tools are found by their names.
FOREIGN = {"tool_workers": {"worker.loading"}, "programs": set(), "bench": set(), "tests": set()}
#: What is no rule's (importer, imported), and why.
ALLOWED: dict[tuple[str, str], str] = {
    ("demo.program", "sglang"): "a program, as any user of SGLang's language writes it",
}


def modules() -> dict[str, Path]:
    """Each module's name below the package, `""` for the package itself."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT / PACKAGE).with_suffix("").parts
        found[".".join(p for p in parts if p != "__init__")] = path
    return found


MODULES = modules()


def imported(path: Path) -> set[str]:
    """The full names that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports here are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(name: str) -> str | None:
    """The module of ours that an imported name belongs to."""
    if name.split(".")[0] != PACKAGE:
        return None
    below = name.partition(".")[2]
    while below and below not in MODULES:
        below = below.rpartition(".")[0]
    return below


#: Each module with the modules of ours and the foreign names that it imports.
OURS = {
    module: {o for name in imported(path) if (o := own(name)) is not None}
    for module, path in MODULES.items()
}
OTHERS = {
    module: {name for name in imported(path) if own(name) is None}
    for module, path in MODULES.items()
}


def room(module: str) -> str:
    return module.split(".")[0]


def floor(module: str) -> int:
    [number] = [n for n, rooms in enumerate(FLOORS) if room(module) in rooms]
    return number


def all_but_allowed(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in found if pair not in ALLOWED]


def test_each_module_has_a_floor():
    known = set().union(*FLOORS)
    assert {room(module) for module in MODULES} - known == set()


def test_imports_run_in_no_circle():
    # A circle raises with its modules.
    TopologicalSorter({m: s - {m} for m, s in OURS.items()}).prepare()


def test_imports_point_downwards():
    upwards = [(m, o) for m, s in OURS.items() for o in s if floor(o) > floor(m)]
    assert all_but_allowed(upwards) == []


def test_processes_meet_only_in_what_is_beneath_them():
    across = [
        (m, o)
        for m, s in OURS.items()
        for o in s
        if {room(m), room(o)} <= PROCESSES and room(m) != room(o)
    ]
    assert all_but_allowed(across) == []


def test_pure_rooms_know_no_input_and_output():
    impure = [
        (m, name)
        for m, names in OTHERS.items()
        for name in names
        if room(m) in PURE and room(name) in IMPURE
    ]
    assert all_but_allowed(impure) == []


@pytest.mark.parametrize(
    ("prefix", "only"), [("sglang.srt", "runtime"), ("sglang.lang", "frontend")]
)
def test_each_side_of_sglang_is_known_in_one_room(prefix, only):
    outside = [
        (m, name)
        for m, names in OTHERS.items()
        for name in names
        if f"{name}.".startswith(f"{prefix}.") and room(m) != only
    ]
    assert all_but_allowed(outside) == []


def test_sglang_and_torch_are_known_to_two_rooms_at_most():
    outside = [
        (m, name)
        for m, names in OTHERS.items()
        for name in names
        if room(name) in ("sglang", "torch") and room(m) not in ("runtime", "frontend")
    ]
    assert all_but_allowed(outside) == []


def test_the_package_imports_nothing_that_is_built_on_it():
    found = [
        (m, room(name))
        for m, names in OTHERS.items()
        for name in names
        if m not in FOREIGN.get(room(name), {m})
    ]
    assert all_but_allowed(found) == []


def test_what_is_allowed_is_still_there():
    real = {(m, o) for m in MODULES for o in OURS[m] | {room(n) for n in OTHERS[m]}}
    assert set(ALLOWED) - real == set()


def test_the_public_names_are_light():
    code = f"import sys, {PACKAGE}; print([n for n in ('sglang', 'torch') if n in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "[]\n"
