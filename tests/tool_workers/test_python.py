"""The python tool, in its sandbox: what it gives back, and what hostile code cannot do."""

from __future__ import annotations

import ast
import json
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.core import ToolResult
from sgl_conveyor.testing import run_tool
from tests.dispatcher.harness import STOP, Harness, dispatcher, wait_until
from tool_workers._python_figures import MAX_BYTES, MAX_FIGURES, MAX_PIXELS, Figures
from tool_workers._python_output import MAX_OUTPUT_CHARS
from tool_workers.python import Python

MIB = 1024**2


@pytest.fixture(scope="module")
def conveyor() -> Iterator[Harness]:
    limits = {"timeout_s": 8.0, "memory_bytes": 512 * MIB}
    os.environ["CONVEYOR_TEST_SECRET"] = "the server's own"
    with dispatcher(["python"], limits=limits) as harness:
        yield harness
    del os.environ["CONVEYOR_TEST_SECRET"]


def run(conveyor: Harness, source: str, *, partial: bool = True) -> m.CallView:
    return conveyor.run("python", source, partial=partial)


def value(conveyor: Harness, source: str) -> str:
    view = run(conveyor, source)
    assert view.outcome.error is None, view.outcome
    assert isinstance(view.outcome.value, str)
    return view.outcome.value


class TestResults:
    def test_output_and_the_last_expressions_value(self, conveyor: Harness) -> None:
        source = "x = 20\nprint('héllo 👩‍👩‍👧')\nfor i in range(2):\n    print(i)\nx * 2 + 2"
        assert value(conveyor, source) == "héllo 👩‍👩‍👧\n0\n1\n42\n"

    def test_what_subprocesses_print_is_captured(self, conveyor: Harness) -> None:
        assert (
            value(conveyor, "import os\n_ = os.system('echo from a shell')\n") == "from a shell\n"
        )

    def test_an_event_loop_can_be_started_and_awaited(self, conveyor: Harness) -> None:
        source = "import asyncio\nasync def f():\n    return 5\nprint(asyncio.run(f()))\nawait f()"
        assert value(conveyor, source) == "5\n5\n"

    def test_the_first_failing_statement_ends_the_execution(self, conveyor: Harness) -> None:
        view = run(conveyor, "def f():\n    return 1 / 0\n\nprint('a')\nf()\nprint('b')\n")
        assert view.outcome.error.type == "ZeroDivisionError"
        assert view.outcome.value == (
            "a\nTraceback (most recent call last):\n"
            '  File "<statement 3>", line 1, in <module>\n    f()\n'
            '  File "<statement 1>", line 2, in f\n    return 1 / 0\n'
            "           ~~^~~\nZeroDivisionError: division by zero\n"
        )
        assert str(view.outcome) == view.outcome.value

    def test_text_that_is_no_python_is_a_syntax_error(self, conveyor: Harness) -> None:
        view = run(conveyor, "this is no Python\nprint('never')\n")
        assert view.outcome.error.type == "SyntaxError"
        assert "never" not in view.outcome.value

    def test_partial_and_sequential_give_the_same(self, conveyor: Harness) -> None:
        source = (
            "a = [1, 2]\nif a:\n    print(a)\nelse:\n    pass\nb = a * 2; print(b)\nlen(b)\n1/0"
        )
        partial, sequential = run(conveyor, source), run(conveyor, source, partial=False)
        assert partial.outcome.value == sequential.outcome.value
        assert partial.outcome.error == sequential.outcome.error

    def test_where_the_text_is_cut_changes_nothing(self) -> None:
        source = (
            "def f(n):\n    return n * 2\n\nx = f(2)\nprint('é', x)\nif x:\n    f(x)\nf(x) + x\n"
        )
        whole = run_tool(Python, source, partial=False).result
        assert whole.value == "é 4\n12\n"
        for cuts in (range(1, len(source)), [9, 28, 41], [40]):
            assert run_tool(Python, source, cuts=cuts).result.value == whole.value

    def test_long_output_is_cut(self, conveyor: Harness) -> None:
        text = value(conveyor, "print('x' * 3_000_000)\n")
        assert len(text) < 300_000
        assert "dropped" in text


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


#: The programs that the benchmark replays.
RECORDED = json.loads((Path(__file__).parents[2] / "bench/recorded/codegen.json").read_text())


class TestRecorded:
    def test_each_is_a_program_of_six_to_twelve_statements(self) -> None:
        assert 20 <= len(RECORDED) <= 24
        assert len(set(RECORDED)) == len(RECORDED)
        for source in RECORDED:
            assert 6 <= len(ast.parse(source).body) <= 12, source
            assert "```" not in source

    @pytest.mark.parametrize("number", [0, 2])
    def test_they_run(self, conveyor: Harness, number: int) -> None:
        assert value(conveyor, RECORDED[number])


#: Each file must raise inside: what it tries must not work.
HOSTILE = sorted((Path(__file__).parent / "hostile").glob("*.py"))


class TestHostileCode:
    @pytest.mark.parametrize("attempt", HOSTILE, ids=lambda path: path.stem)
    def test_code_that(self, conveyor: Harness, attempt: Path) -> None:
        source = attempt.read_text().replace("HOME", os.path.expanduser("~"))
        view = run(conveyor, source + "print('done it')\n")
        assert view.outcome.error is not None, view.outcome
        assert "done it" not in (view.outcome.value or "")
        assert value(conveyor, "print('next')\n") == "next\n"

    def test_code_that_never_ends_is_ended(self, conveyor: Harness) -> None:
        view = run(conveyor, "while True:\n    pass\n")
        assert view.outcome.error.type == "ToolTimeout"
        assert value(conveyor, "print('next')\n") == "next\n"

    def test_processes_that_hold_too_much_together_are_ended(self, conveyor: Harness) -> None:
        source = (
            "import os, time\n"
            "for _ in range(8):\n"
            "    if os.fork() == 0:\n"
            "        held = bytearray(200 * 2**20)\n"
            "        for page in range(0, len(held), 4096):\n"
            "            held[page] = 1\n"
            "        time.sleep(20)\n"
            "        os._exit(0)\n"
            "time.sleep(20)\n"
        )
        view = run(conveyor, source)
        assert view.outcome.error.type == "MemoryLimit"
        assert value(conveyor, "print('next')\n") == "next\n"

    def test_our_environment_is_not_seen(self, conveyor: Harness) -> None:
        source = (
            "import os, glob\nseen = str(dict(os.environ))\n"
            "for name in glob.glob('/proc/*/environ'):\n"
            "    try:\n        seen += open(name).read()\n    except OSError:\n        pass\n"
            "print('SECRET' in seen, 'CONVEYOR_RUN' in seen)\n"
        )
        assert value(conveyor, source) == "False False\n"

    def test_no_socket_of_ours_but_its_own_channel_is_seen(self, conveyor: Harness) -> None:
        source = (
            "import os, stat\nfound = []\n"
            "for root, folders, files in os.walk('/'):\n"
            "    folders[:] = [] if root in ('/proc', '/usr', '/sys') else folders\n"
            "    for name in files:\n"
            "        path = os.path.join(root, name)\n"
            "        if stat.S_ISSOCK(os.lstat(path).st_mode): found.append(path)\n"
            "print(found)\n"
        )
        assert value(conveyor, source) == "['/run/conveyor/channel']\n"

    def test_what_a_call_leaves_is_not_there_for_the_next(self, conveyor: Harness) -> None:
        plant = (
            "import os, time, threading, builtins\nopen('/tmp/planted', 'w').write('x')\n"
            "builtins.planted = 1\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
            "pid = os.fork()\nif pid == 0:\n    time.sleep(60)\n    os._exit(0)\n"
        )
        processes = {p.pid for p in conveyor.workers()}
        assert run(conveyor, plant).outcome.error is None
        look = (
            "import os, builtins\n"
            "print('planted' in os.listdir('/tmp'), hasattr(builtins, 'planted'))\n"
        )
        for _ in range(3):
            assert value(conveyor, look) == "False False\n"
        wait_until(lambda: not processes & {p.pid for p in conveyor.workers()}, "fresh processes")

    def test_forged_messages_end_only_their_own_call(self, conveyor: Harness) -> None:
        forge = (
            "import gc, zmq\nfrom sgl_conveyor import messages as m\n"
            "[s] = [o for o in gc.get_objects() if isinstance(o, zmq.Socket)]\n"
            "s.send(b'junk')\n"
            "s.send(m.encode(m.Finished('0' * 48, b'1', None, 0.0, 0.0)))\n"
            "s.send(m.encode(m.WorkerHello('wrong', 1)))\n"
        )
        other = conveyor.create("python")
        conveyor.attach(other)
        view = run(conveyor, forge + "print('done')\n")
        assert view.outcome.error.type == "WorkerLost"
        conveyor.decode(other, "print('mine')\n", STOP)
        assert conveyor.read(other).outcome.value == "mine\n"

    def test_a_result_before_the_regions_end_is_a_lie_that_ends_the_call(
        self, conveyor: Harness
    ) -> None:
        lie = (
            "import gc, zmq\nfrom sgl_conveyor import messages as m\n"
            "[s] = [o for o in gc.get_objects() if isinstance(o, zmq.Socket)]\n"
            "from sgl_conveyor.worker.runner import CallRunner\n"
            "[r] = [o for o in gc.get_objects() if isinstance(o, CallRunner)]\n"
            "s.send(m.encode(m.Finished(r.call, b'1', None, 0.0, 0.0)))\n"
        )
        call = conveyor.create("python")
        conveyor.attach(call)
        conveyor.decode(call, lie + "1\n")
        assert conveyor.read(call).outcome.error.type == "TransitionError"
        assert value(conveyor, "print('next')\n") == "next\n"

    def test_a_call_that_is_deleted_in_a_long_statement_frees_its_worker(
        self, conveyor: Harness
    ) -> None:
        call = conveyor.create("python")
        conveyor.attach(call)
        conveyor.decode(call, "import time\ntime.sleep(7)\nprint(1)\n")
        wait_until(lambda: conveyor.read(call, 0).outcome.timings.units, "the first statement")
        conveyor.ask(m.DeleteCall, call)
        before = {p.pid for p in conveyor.workers()}
        wait_until(lambda: before - {p.pid for p in conveyor.workers()}, "the worker's end", 5)


def test_a_worker_is_small_before_its_tools_own_imports() -> None:
    with dispatcher(["tests.tools.puppet:Nothing"]) as conveyor:
        [worker] = conveyor.workers()
        assert psutil.Process(worker.pid).memory_info().rss <= 60 * MIB


class TestHostileMessages:
    """What a model wrote shares its worker's process, and so can say anything to the dispatcher."""

    SOCKET = (
        "import gc, zmq, time\nfrom sgl_conveyor import messages as m\n"
        "from sgl_conveyor.timings import UnitTiming\n"
        "from sgl_conveyor.worker.runner import CallRunner\n"
        "[s] = [o for o in gc.get_objects() if isinstance(o, zmq.Socket)]\n"
        "[r] = [o for o in gc.get_objects() if isinstance(o, CallRunner)]\n"
    )

    def attack(self, conveyor: Harness, source: str) -> m.CallView:
        view = run(conveyor, self.SOCKET + source)
        assert value(conveyor, "print('next')\n") == "next\n"
        return view

    def test_a_flood_of_progress_ends_the_call(self, conveyor: Harness) -> None:
        flood = (
            "while True:\n    s.send(m.encode(m.Progress(r.call, [UnitTiming(0, 0, 0)] * 99, 0)))\n"
        )
        assert self.attack(conveyor, flood).outcome.error.type == "TooManyMessages"

    def test_a_deeply_nested_result_reaches_nobody(self, conveyor: Harness) -> None:
        forge = (
            "from sgl_conveyor.worker import runner\n"
            "runner.encode_value = lambda value: b'[' * 500000 + b']' * 500000\n"
        )
        assert self.attack(conveyor, forge).outcome.error.type == "ProtocolError"

    def test_times_that_are_no_numbers_are_left_out(self, conveyor: Harness) -> None:
        forge = (
            "nan = float('nan')\n"
            "s.send(m.encode(m.Progress(r.call, [UnitTiming(nan, nan, nan)], 0)))\n"
        )
        view = self.attack(conveyor, forge)
        assert all(unit.ready == unit.ready for unit in view.outcome.timings.units)


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
        while conveyor.read(call, 0).state != "done":
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


def test_without_a_sandbox_each_call_still_has_a_process_of_its_own() -> None:
    with dispatcher(["python"], unsafe=True) as unsafe:
        source = "import os, builtins\nprint(hasattr(builtins, 'planted'), os.getpid())\n"
        plant = "builtins.planted = 1\n"
        outputs = [value(unsafe, source + plant).splitlines()[-1] for _ in range(3)]
        assert [output.split()[0] for output in outputs] == ["False"] * 3, outputs
        assert len(set(outputs)) == 3
