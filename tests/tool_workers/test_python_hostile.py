"""The python tool: what hostile code cannot do, besides what tests/conformance tries."""

from __future__ import annotations

from sgl_conveyor import messages as m
from tests.dispatcher.harness import Harness, wait_until
from tests.tool_workers.python_calls import run, value


class TestHostileCode:
    def test_code_that_never_ends_is_ended(self, impatient: Harness) -> None:
        view = run(impatient, "while True:\n    pass\n")
        assert view.outcome.error.type == "ToolTimeout"
        assert value(impatient, "print('next')\n") == "next\n"

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
