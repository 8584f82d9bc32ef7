"""Which tools a server has, and the file that changes their limits."""

import pytest

from sgl_conveyor.errors import ConfigurationError
from sgl_conveyor.specs import Limits, ToolSpec
from sgl_conveyor.tools_config import apply_overrides, describe_tools, load_overrides

TOOLS = [
    ToolSpec(
        name="python",
        source="tool_workers.python:Python",
        limits=Limits(timeout_s=30.0, workers=2, memory_bytes=2 * 1024**3),
        environment={"A": "1", "B": "2"},
    ),
    ToolSpec(name="sum", source="tools:Sum"),
]


@pytest.fixture
def config(tmp_path):
    """A function that writes the file."""
    path = tmp_path / "tools.toml"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


def tools_with(path):
    return apply_overrides(TOOLS, load_overrides(path), path)


# --- the file --------------------------------------------------------------------------------


def test_the_file_changes_what_it_names_and_nothing_else(config):
    python, other = tools_with(
        config("[python]\nworkers = 4\ntimeout = 2.5\nmemory = 512\nenvironment = {B = '3'}\n")
    )
    assert python.limits == Limits(timeout_s=2.5, workers=4, memory_bytes=512 * 1024**2)
    assert python.environment == {"A": "1", "B": "3"}
    assert (python.name, python.source) == (TOOLS[0].name, TOOLS[0].source)
    assert other == TOOLS[1]


def test_a_timeout_may_be_a_whole_number(config):
    assert tools_with(config("[sum]\ntimeout = 5\n"))[1].limits.timeout_s == 5.0


@pytest.mark.parametrize("text", ["", "[python]\n"])
def test_an_empty_file_or_table_changes_nothing(config, text):
    assert tools_with(config(text)) == TOOLS


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[python]\nworker = 4\n", "worker"),
        ("[python]\nworkers = 'four'\n", "workers"),
        ("[python]\nworkers = 1.5\n", "workers"),
        ("[python]\nworkers = true\n", "workers"),
        ("[python]\nworkers = 0\n", "python.workers"),
        ("[python]\ntimeout = -1\n", "python.timeout"),
        ("[python]\ntimeout = nan\n", "python.timeout"),
        ("[python]\nmemory = 0\n", "python.memory"),
        ("[python]\nenvironment = {A = 1}\n", "environment"),
        ("workers = 4\n", "workers"),
        ("[python\n", "line 1"),
        ("[nosuch]\nworkers = 4\n", "nosuch"),
    ],
)
def test_an_error_names_the_file_and_the_key(config, text, key):
    path = config(text)
    with pytest.raises(ConfigurationError) as raised:
        tools_with(path)
    assert str(path) in str(raised.value)
    assert key in str(raised.value)


def test_an_error_names_the_tool_whose_table_it_is_in(config):
    path = config("[python]\nworkers = 2\n\n[sum]\nworkers = 'four'\n")
    with pytest.raises(ConfigurationError, match="sum"):
        tools_with(path)


def test_a_file_that_names_an_unknown_tool_is_told_the_known_ones(config):
    with pytest.raises(ConfigurationError, match="this server has python, sum"):
        tools_with(config("[nosuch]\n"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "nosuch.toml"
    with pytest.raises(ConfigurationError, match=r"nosuch\.toml"):
        load_overrides(path)


def test_a_file_that_is_no_utf8_is_named(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes("# Größe\n".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"latin\.toml"):
        load_overrides(path)


# --- the tools -------------------------------------------------------------------------------


def test_tools_are_described_in_the_order_given():
    tools = describe_tools(["tests.tools.sums:SumLines"])
    assert [(tool.name, tool.limits.timeout_s) for tool in tools] == [("sum_lines", 3.0)]


def test_without_a_list_the_shipped_tools_are_described():
    assert "python" in [tool.name for tool in describe_tools([])]


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        (["nosuch"], ["unknown tool 'nosuch'", "python"]),
        (["no.such.module:Tool"], ["no module", "python"]),
        (["tests.tools.sums:NoSuch"], ["tests.tools.sums has no Tool called 'NoSuch'"]),
        (["tests.tools.sums:not_a_tool"], ["'not_a_tool'"]),
        (["tests.tools.sums:Unservable"], ["workers = 0"]),
        (
            ["tests.tools.fails_to_import:Broken"],
            ["could not be imported", "the licence server does not answer"],
        ),
        (
            ["tests.tools.lacks_a_module:Lacking"],
            ["could not be imported", "a_package_that_nobody_has"],
        ),
        (["tests.tools.sums:SumLines", "tests.tools.sums:SameName"], ["sum_lines more than once"]),
    ],
    ids=lambda value: value[0] if len(value) == 1 else None,
)
def test_tools_that_cannot_be_served_are_refused(sources, says):
    with pytest.raises(ConfigurationError) as raised:
        describe_tools(sources)
    for part in says:
        assert part in str(raised.value)
