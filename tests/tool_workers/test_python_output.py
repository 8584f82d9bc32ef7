"""The python tool: what a program prints and draws, and how it ends."""

from __future__ import annotations

import struct
import time

import pytest

from sgl_conveyor.core import ToolResult
from sgl_conveyor.testing import run_tool
from tests.dispatcher.harness import STOP, Harness, dispatcher, wait_until
from tests.tool_workers.python_calls import value
from tool_workers._python_figures import MAX_BYTES, MAX_FIGURES, MAX_PIXELS, Figures
from tool_workers._python_output import MAX_OUTPUT_CHARS
from tool_workers.python import Python


class TestExit:
    """A program may end itself, as a script does."""

    @pytest.mark.parametrize(
        "ending",
        [
            "exit()", "quit()", "exit(0)", "import sys; sys.exit()", "raise SystemExit",
            "raise SystemExit(False)", "def f():\n    exit()\n\nf()",
            "import sys\nasync def f():\n    sys.exit()\n\nawait f()",
            "import asyncio, sys\nasync def f():\n    sys.exit()\n\nasyncio.run(f())",
        ],
    )  # fmt: skip
    def test_the_program_ends_there_with_the_output_so_far(self, ending: str) -> None:
        result = run_tool(Python, f"print('a')\n{ending}\nprint('b')\n5\n").result
        assert (result.value, result.error) == ("a\n", None)

    @pytest.mark.parametrize(
        ("ending", "message", "output"),
        [
            ("import sys\nsys.exit(3)", "3", "a\n"),
            ("exit(True)", "True", "a\n"),
            ("quit('no data')", "no data", "a\nno data\n"),
            ("raise SystemExit(1, 'x')", "(1, 'x')", "a\n(1, 'x')\n"),
        ],
    )
    def test_a_code_or_a_message_makes_it_an_error_without_a_traceback(
        self, ending: str, message: str, output: str
    ) -> None:
        result = run_tool(Python, f"print('a')\n{ending}\nprint('b')\n").result
        assert result.value == output
        assert result.error is not None
        assert (result.error.type, result.error.message) == ("SystemExit", message)

    def test_a_program_that_catches_it_goes_on(self) -> None:
        source = (
            "try:\n    exit(3)\nexcept SystemExit as error:\n    print(error.code)\nprint('b')\n"
        )
        result = run_tool(Python, source).result
        assert (result.value, result.error) == ("3\nb\n", None)

    def test_in_a_thread_it_ends_only_the_thread(self) -> None:
        source = (
            "import threading, sys\nthread = threading.Thread(target=sys.exit, args=(3,))\n"
            "thread.start()\nthread.join()\nprint('b')\n"
        )
        result = run_tool(Python, source).result
        assert (result.value, result.error) == ("b\n", None)

    @pytest.mark.parametrize(
        ("ending", "code", "output"),
        [
            ("exit(7)", 7, ""),
            ("exit()", 0, ""),
            ("exit('bad')", 1, "bad\n"),
            ("print('in time')", 0, "in time\n"),
            ("{}['k']", 1, "KeyError: 'k'\n"),
        ],
    )
    def test_a_forked_process_ends_with_its_own_code(
        self, ending: str, code: int, output: str
    ) -> None:
        source = (
            f"import os\nif (pid := os.fork()) == 0:\n    {ending}\n"
            "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        )
        result = run_tool(Python, source).result
        assert result.error is None
        assert result.value.endswith(f"{output}{code}\n")
        assert result.value.count("\n") == 1 or output


class TestOutput:
    def test_threads_and_forked_processes_may_print(self, conveyor: Harness) -> None:
        source = (
            "import threading, os\n"
            "def work():\n    for _ in range(2000):\n        print('x')\n\n"
            "threads = [threading.Thread(target=work) for _ in range(8)]\n"
            "_ = [t.start() for t in threads], [t.join() for t in threads]\n"
            "def fork():\n"
            "    pid = os.fork()\n"
            "    if pid == 0:\n        print('a child')\n        os._exit(0)\n"
            "    os.waitpid(pid, 0)\n\n"
            "fork()\n"
        )
        text = value(conveyor, source)
        assert text.count("x") == 16000
        assert "a child\n" in text

    def test_a_fork_that_leaves_its_statement_ends(self, conveyor: Harness) -> None:
        source = "import os\npid = os.fork()\nprint('once')\n_ = os.waitpid(pid, 0)\n"
        assert value(conveyor, source) == "once\n"

    def test_much_printing_keeps_nobody_else_waiting(self, conveyor: Harness) -> None:
        call = conveyor.create("python")
        conveyor.attach(call)
        conveyor.decode(call, "for i in range(100000):\n    print(i % 10)\n", STOP)
        answers = 0
        while not conveyor.read(call, 0).ended:
            answers += 1
        assert conveyor.read(call).outcome.error is None
        assert answers > 5

    @pytest.mark.parametrize(
        "late",
        [
            "import threading, time\n"
            "def late():\n    time.sleep(0.2)\n    print('late é')\n\n"
            "thread = threading.Thread(target=late)\nthread.start()\n",
            "import subprocess\n"
            "late = subprocess.Popen(['sh', '-c', 'sleep 0.2; echo late é >&2'])\n",
            "import ctypes, threading, time\n"
            "def late():\n    time.sleep(0.2)\n"
            "    ctypes.CDLL(None).write(2, 'late é\\n'.encode(), 8)\n\n"
            "thread = threading.Thread(target=late)\nthread.start()\n",
            "import sys, threading, time\n"
            "def late():\n    time.sleep(0.2)\n    sys.__stdout__.write('late é\\n')\n\n"
            "thread = threading.Thread(target=late)\nthread.start()\n",
        ],
        ids=["a thread", "a subprocess", "C code", "a thread past sys.stdout"],
    )
    def test_what_is_printed_after_its_statement_is_kept_in_the_order_seen(self, late: str) -> None:
        source = late + (
            "import time\nfor text in 'first', 'last':\n    print(text)\n    time.sleep(1)\n"
        )
        result = run_tool(Python, source).result
        assert (result.value, result.error) == ("first\nlate é\nlast\n", None)
        assert result.emitted == result.value

    def test_what_is_printed_between_the_last_statement_and_the_end_is_kept(
        self, conveyor: Harness
    ) -> None:
        call = conveyor.create("python")
        conveyor.attach(call)
        source = "import threading\n_ = threading.Timer(0.3, print, ['late']).start()\n"
        conveyor.decode(call, source)
        wait_until(lambda: len(conveyor.read(call, 0).outcome.timings.units) == 2, "the timer")
        time.sleep(1)
        conveyor.decode(call, "", STOP)
        assert conveyor.read(call).outcome.value == "late\n"

    def test_what_others_print_is_limited_too(self) -> None:
        source = "import os\n_ = os.system('yes | head -c 30000000')\nprint('never')\n"
        result = run_tool(Python, source).result
        assert result.error is None
        assert len(result.value) < MAX_OUTPUT_CHARS + 100
        assert result.value.endswith("dropped]\n")

    def test_a_character_may_come_in_pieces(self) -> None:
        source = "import os\nfor byte in 'é🎉'.encode():\n    _ = os.write(1, bytes([byte]))\n"
        result = run_tool(Python, source + "    print(end='')\n").result
        assert (result.value, result.error) == ("é🎉", None)

    def test_bytes_are_refused_as_python_does(self) -> None:
        source = "import sys\nprint('a')\nsys.stdout.write(b'x')\n"
        result = run_tool(Python, source).result
        assert result.value.startswith("a\nTraceback")
        assert result.error is not None
        assert result.error.type == "TypeError"
        assert result.error.message == "write() argument must be str, not bytes"

    @pytest.mark.parametrize(
        "statement",
        [
            "print('é \\ud800')",
            "type('A', (), {'__repr__': lambda self: 'é \\ud800'})()",
            "(t := Thread(target=print, args=['é \\ud800'])).start()\nt.join()",
            "if (pid := os.fork()) == 0:\n    print('é \\ud800')\n_ = os.waitpid(pid, 0)",
            "exit('é \\ud800')",
        ],
        ids=["print", "repr", "thread", "fork", "exit"],
    )  # fmt: skip
    def test_half_of_a_surrogate_pair_is_escaped(self, statement: str) -> None:
        source = f"import os\nfrom threading import Thread\nprint('before')\n{statement}\n"
        result = run_tool(Python, source).result
        assert result.value == "before\né \\ud800\n"
        assert result.emitted == result.value
        if statement.startswith("exit"):
            assert result.error is not None
            assert result.error.message == "é \\ud800"
        else:
            assert result.error is None

    def test_half_of_a_surrogate_pair_in_an_error_is_escaped(self) -> None:
        result = run_tool(Python, "print('a')\nraise ValueError('é \\ud800')\n").result
        assert result.error is not None
        assert (result.error.type, result.error.message) == ("ValueError", "é \\ud800")
        assert result.value.startswith("a\nTraceback")
        assert result.value.endswith("ValueError: é \\ud800\n")


def draw(source: str) -> ToolResult:
    """What a program with matplotlib comes to."""
    return run_tool(Python, "import matplotlib.pyplot as plt\n" + source).result


def sizes(result: ToolResult) -> list[tuple[str, int, int]]:
    """Each figure's name, width and height (pixels)."""
    for file in result.attachments:
        assert file.media_type == "image/png"
        assert file.data.startswith(b"\x89PNG\r\n\x1a\n")
    return [(file.name, *struct.unpack(">II", file.data[16:24])) for file in result.attachments]


class TestFigures:
    def test_what_is_shown_or_left_open_is_attached_in_order_and_nothing_is_printed(self) -> None:
        result = draw(
            "first = plt.figure(figsize=(1, 1))\nplt.plot([1, 2])\n"
            "plt.show()\nassert plt.get_fignums() == []\n"
            "second = plt.figure(figsize=(2, 1))\nsecond.show()\nsecond.show()\n"
            "plt.figure(figsize=(3, 1))\nplt.show(block=False)\nplt.show()\n"
            "plt.figure(figsize=(4, 1))\nplt.close()\n"
            "_ = plt.figure(figsize=(5, 1))\nprint('done')\n"
        )
        assert (result.value, result.error) == ("done\n", None)
        assert sizes(result) == [
            ("figure-1.png", 100, 100),
            ("figure-2.png", 200, 100),
            ("figure-3.png", 300, 100),
            ("figure-4.png", 500, 100),
        ]

    def test_a_program_that_chooses_agg_itself_has_its_figures_too(self) -> None:
        source = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
        result = run_tool(Python, source + "plt.plot([1])\nplt.show()\n").result
        assert (result.value, result.error) == ("", None)
        assert sizes(result) == [("figure-1.png", 640, 480)]

    def test_a_figure_that_cannot_be_drawn_is_the_programs_error(self) -> None:
        source = "plt.figure(figsize=(1, 1))\nplt.show()\nprint('a')\n_ = plt.title('$\\\\no$')\n"
        for ending in ("", "plt.show()\nprint('never')\n"):
            result = draw(source + ending)
            assert result.error is not None
            assert result.error.type == "ValueError"
            assert "Unknown symbol" in result.error.message
            assert result.value.startswith("a\n")
            assert "never" not in result.value
            assert sizes(result) == [("figure-1.png", 100, 100)]

    def test_a_program_that_fails_keeps_its_figures(self) -> None:
        result = draw("fig = plt.figure(figsize=(1, 1))\n1 / 0\n")
        assert result.error is not None
        assert result.error.type == "ZeroDivisionError"
        assert sizes(result) == [("figure-1.png", 100, 100)]

    def test_a_forged_pyplot_is_an_error_and_no_dead_worker(self) -> None:
        result = run_tool(Python, "import sys\nsys.modules['matplotlib.pyplot'] = 1\n").result
        assert result.error is not None
        assert result.error.type == "AttributeError"

    def test_too_many_pixels_are_a_line_of_output(self) -> None:
        result = draw("_ = plt.figure(figsize=(100, 100))\n_ = plt.figure(figsize=(1, 1))\n")
        assert result.error is None
        assert result.value == (
            f"[figure 1 was dropped: 10000 x 10000 pixels are more than {MAX_PIXELS}]\n"
        )
        assert sizes(result) == [("figure-1.png", 100, 100)]

    def test_the_number_and_the_bytes_of_figures_are_limited(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Drawn:
            """A figure without matplotlib behind it."""

            dpi = 100

            def __init__(self, data: bytes) -> None:
                self.data = data

            def get_size_inches(self) -> tuple[float, float]:
                return (1.0, 1.0)

            def savefig(self, file: object, **options: object) -> None:
                file.write(self.data)  # type: ignore[attr-defined]

        figures = Figures()
        drawn = [Drawn(b"x" * (MAX_BYTES - 100)), Drawn(b"y" * 101)]
        drawn += [Drawn(b"%d" % n) for n in range(MAX_FIGURES)]
        for figure in drawn:
            figures.show(figure)
        assert len(figures.images) == MAX_FIGURES
        assert sum(map(len, figures.images)) <= MAX_BYTES
        assert capsys.readouterr().out.splitlines() == [
            f"[figure 2 was dropped: the figures have more than {MAX_BYTES} bytes together]",
            f"[figure {MAX_FIGURES + 2} was dropped: there are more than {MAX_FIGURES}]",
        ]

    def test_an_import_runs_while_the_rest_is_decoded(self) -> None:
        with dispatcher(["python"]) as conveyor:
            call = conveyor.create("python")
            conveyor.attach(call)
            conveyor.decode(call, "import matplotlib.pyplot as plt\n")
            wait_until(lambda: conveyor.read(call, 0).outcome.timings.units, "the import")
            conveyor.decode(call, "_ = plt.plot([1, 2])\n", STOP)
            outcome = conveyor.read(call).outcome
        assert len(outcome.attachments) == 1
        heavy = outcome.timings.units[0]
        assert heavy.started < heavy.ended < outcome.timings.tokens[-1]
