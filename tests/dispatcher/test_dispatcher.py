"""The life of a call over real sockets and real worker processes, and every fault of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher.config import Retention
from tests.dispatcher.harness import STOP, Harness, dispatcher, lines_of, wait_until

PUPPET = "tests.tools.puppet:Puppet"
ASYNC = "tests.tools.puppet:AsyncPuppet"
NOTHING = "tests.tools.puppet:Nothing"
FAMILY = "👩‍👩‍👧"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("puppet") / "record"


@pytest.fixture(scope="module")
def conveyor(record: Path) -> Iterator[Harness]:
    environment = {"PUPPET_RECORD": str(record)}
    with dispatcher([PUPPET, ASYNC, NOTHING], environment=environment) as harness:
        yield harness


class TestResults:
    def test_a_tool_gets_the_lines_and_the_client_its_result(self, conveyor: Harness) -> None:
        view = conveyor.run("puppet", f"say hello\n{FAMILY} 你好 e\u0301\nlast")
        assert view.state == "done"
        assert view.outcome.value == ["say hello", f"{FAMILY} 你好 e\u0301", "last"]
        assert view.outcome.emitted == "hello"
        assert view.text == f"say hello\n{FAMILY} 你好 e\u0301\nlast"

    def test_sequential_gives_the_same_result_after_the_region_has_ended(
        self, conveyor: Harness
    ) -> None:
        partial = conveyor.run("puppet", "one\ntwo\n")
        sequential = conveyor.run("puppet", "one\ntwo\n", partial=False)
        assert sequential.outcome.value == partial.outcome.value
        timings = sequential.outcome.timings
        assert all(unit.started >= timings.region_end for unit in timings.units)
        assert timings.units[0].ready < timings.region_end, "it was certain long before"

    def test_lines_run_while_the_region_is_still_decoded(self, conveyor: Harness) -> None:
        call = conveyor.create("puppet")
        conveyor.attach(call)
        conveyor.decode(call, "say early\nsecond ")
        wait_until(lambda: conveyor.read(call, 0).outcome.emitted == "early", "the first line")
        assert conveyor.read(call, 0).state == "decoding"
        conveyor.decode(call, "line", STOP)
        assert conveyor.read(call).outcome.value == ["say early", "second line"]

    def test_a_matched_stop_string_is_never_seen_by_the_tool(self, conveyor: Harness) -> None:
        call = conveyor.create("puppet")
        conveyor.attach(call, stop=["```"])
        conveyor.decode(call, "a `b` c\n``` tail", m.Finish("stop", "```"), per_step=1)
        view = conveyor.read(call)
        assert view.text == "a `b` c\n"
        assert view.outcome.value == ["a `b` c"]

    def test_text_before_the_worker_has_opened_is_kept(self, conveyor: Harness) -> None:
        view = conveyor.run("puppet", "one\n", region="sleep 0.5")
        assert view.outcome.value == ["one"]

    def test_many_calls_share_a_worker_of_an_async_tool(self, conveyor: Harness) -> None:
        calls = [conveyor.create("async_puppet") for _ in range(8)]
        for call in calls:
            conveyor.attach(call)
        for call in calls:
            conveyor.decode(call, f"sleep 0.3\n{call[:4]}", STOP)
        views = [conveyor.read(call) for call in calls]
        assert [v.outcome.value[1] for v in views] == [call[:4] for call in calls]
        first = min(v.outcome.timings.finished for v in views)
        assert all(v.outcome.timings.queued < first for v in views)


class TestFailures:
    @pytest.mark.parametrize("tool", ["puppet", "async_puppet"])
    def test_a_hook_that_raises_is_an_error_and_decoding_goes_on(
        self, conveyor: Harness, record: Path, tool: str
    ) -> None:
        call = conveyor.create(tool, "raises")
        rid = conveyor.attach(call)
        conveyor.decode(call, "raise\nmore ")
        view = conveyor.read(call)
        assert view.state == "failed"
        assert (view.outcome.error.type, view.outcome.error.message) == ("ValueError", "as ordered")
        conveyor.decode(call, "text", STOP)
        wait_until(
            lambda: conveyor.read(call, 0).text == "raise\nmore text", "the rest of the text"
        )
        assert rid not in conveyor.stopped
        wait_until(lambda: "raises abort ValueError: as ordered" in lines_of(record), "abort()")

    @pytest.mark.parametrize("tool", ["puppet", "async_puppet"])
    def test_tool_abort_stops_the_decoding_and_runs_abort(
        self, conveyor: Harness, record: Path, tool: str
    ) -> None:
        call = conveyor.create(tool, f"stops-{tool}")
        rid = conveyor.attach(call)
        conveyor.decode(call, "stop\nmore ")
        view = conveyor.read(call)
        assert (view.state, view.outcome.aborted) == ("aborted", "as ordered")
        assert rid in conveyor.stopped
        wait_until(lambda: f"stops-{tool} abort as ordered" in lines_of(record), "abort()")

    def test_finish_that_raises_is_aborted(self, conveyor: Harness, record: Path) -> None:
        view = conveyor.run("puppet", "at the end raise", region="finish-raises")
        assert view.outcome.error.type == "ValueError"
        wait_until(
            lambda: "finish-raises abort ValueError: as ordered" in lines_of(record), "abort()"
        )

    def test_open_that_raises_is_an_error(self, conveyor: Harness) -> None:
        view = conveyor.run("puppet", "one\n", region="raise")
        assert view.outcome.error.type == "ValueError"

    def test_a_region_cut_by_its_limit_is_aborted_and_says_so(
        self, conveyor: Harness, record: Path
    ) -> None:
        call = conveyor.create("puppet", "cut")
        # A call that still waits for a worker has nothing to undo.
        wait_until(lambda: "cut open" in lines_of(record), "open()")
        conveyor.attach(call)
        conveyor.decode(call, "one\ntwo", m.Finish("length"))
        view = conveyor.read(call)
        assert view.outcome.error.type == "RegionCut"
        wait_until(
            lambda: any(x.startswith("cut abort RegionCut") for x in lines_of(record)), "abort"
        )
        assert "cut finish" not in lines_of(record)

    def test_a_lost_tap_message_ends_the_call_with_an_error(self, conveyor: Harness) -> None:
        call = conveyor.create("puppet")
        conveyor.attach(call)
        conveyor.decode(call, "one\n")
        conveyor.lose(call, 2)
        conveyor.decode(call, "two\n", STOP)
        error = conveyor.read(call).outcome.error
        assert error.type == "TokensLost"
        assert "expected offset" in error.message

    def test_tokens_that_never_come_after_a_normal_end_are_an_error(
        self, conveyor: Harness
    ) -> None:
        call = conveyor.create("puppet")
        rid = conveyor.attach(call)
        conveyor.decode(call, "one\n")
        conveyor.control.send(m.encode(m.RequestEnded(rid, 99, "")))
        assert conveyor.read(call).outcome.error.type == "TokensLost"

    def test_a_request_that_is_aborted_in_the_queue_aborts_the_call(
        self, conveyor: Harness, record: Path
    ) -> None:
        call = conveyor.create("puppet", "queued")
        # A call that still waits for a worker has nothing to undo.
        wait_until(lambda: "queued open" in lines_of(record), "open()")
        rid = conveyor.attach(call)
        conveyor.control.send(m.encode(m.RequestEnded(rid, None, "Abort in waiting queue")))
        view = conveyor.read(call)
        assert (view.state, view.outcome.aborted) == ("aborted", "Abort in waiting queue")
        wait_until(lambda: "queued abort Abort in waiting queue" in lines_of(record), "abort()")

    @pytest.mark.parametrize("tool", ["puppet", "async_puppet"])
    def test_deleting_a_call_stops_its_request_and_frees_the_worker(
        self, conveyor: Harness, tool: str
    ) -> None:
        call = conveyor.create(tool, "deleted")
        rid = conveyor.attach(call)
        conveyor.decode(call, "sleep 0.2\nmore")
        view = conveyor.ask(m.DeleteCall, call)
        assert isinstance(view, m.CallView)
        assert view.state == "aborted"
        assert conveyor.run(tool, "free\n").outcome.value == ["free"]
        assert rid in conveyor.stopped

    def test_an_abort_interrupts_a_waiting_coroutine(self, conveyor: Harness) -> None:
        call = conveyor.create("async_puppet", "interrupted")
        conveyor.attach(call)
        conveyor.decode(call, "sleep 20\n")
        conveyor.ask(m.DeleteCall, call)
        others = [conveyor.run("async_puppet", "x\n").outcome.value for _ in range(2)]
        assert others == [["x"], ["x"]]


class TestLimits:
    @pytest.mark.parametrize("tool", ["puppet", "async_puppet"])
    def test_a_hook_that_takes_too_long_ends_its_call(self, conveyor: Harness, tool: str) -> None:
        call = conveyor.create(tool, "slow")
        conveyor.attach(call)
        conveyor.decode(call, "sleep 25\nmore")
        assert conveyor.read(call).outcome.error.type == "ToolTimeout"
        assert conveyor.run(tool, "next\n").outcome.value == ["next"]

    def test_waiting_for_tokens_never_counts(self, conveyor: Harness) -> None:
        call = conveyor.create("puppet")
        conveyor.attach(call)
        conveyor.decode(call, "one\n")
        time.sleep(4.5)  # more than the tool's timeout of 3 s and its grace
        conveyor.decode(call, "two\n", STOP)
        assert conveyor.read(call).outcome.value == ["one", "two"]

    def test_the_time_from_the_region_to_the_result_is_limited(self, conveyor: Harness) -> None:
        lines = "sleep 1.2\n" * 6
        error = conveyor.run("puppet", lines).outcome.error
        assert error.type == "ToolTimeout"
        assert "after its region's end" in error.message

    def test_calls_wait_for_a_worker_and_a_full_queue_refuses_at_once(self) -> None:
        with dispatcher([PUPPET], limits={"queue": 2}) as conveyor:
            busy = conveyor.create("puppet", "sleep 1")
            waiting = [conveyor.create("puppet") for _ in range(2)]
            status, message = conveyor.refusal(m.CreateCall, "puppet", "r", True, 0.0)
            assert (status, "full" in message) == (503, True)
            for call in [busy, *waiting]:
                conveyor.attach(call)
                conveyor.decode(call, "done", STOP)
            assert [conveyor.read(c).outcome.value for c in [busy, *waiting]] == [["done"]] * 3

    def test_a_call_that_waits_buffers_a_mebibyte_at_most(self) -> None:
        with dispatcher([PUPPET]) as conveyor:
            busy = conveyor.create("puppet", "sleep 2.5")
            call = conveyor.create("puppet")
            conveyor.attach(call)
            conveyor.decode(call, "x " * 600_000, per_step=50_000)
            assert conveyor.read(call).outcome.error.type == "QueueOverflow"
            conveyor.attach(busy)
            conveyor.decode(busy, "fine", STOP)
            assert conveyor.read(busy).outcome.value == ["fine"]


class TestDeadWorkers:
    STATES: ClassVar = {
        "while it opens": ("sleep 1", None),
        "in a unit": ("r", "sleep 1\nmore"),
        "between units": ("r", "one\n"),
        "while it finishes": ("r", "at the end sleep 1"),
    }

    @pytest.mark.parametrize("state", STATES)
    def test_a_killed_worker_is_an_error_and_the_pool_refills(
        self, conveyor: Harness, state: str
    ) -> None:
        region, text = self.STATES[state]
        before = {w.pid for w in conveyor.workers()}
        call = conveyor.create("puppet", region)
        conveyor.attach(call)
        if text is not None:
            conveyor.decode(call, text, STOP if "finish" in state else None)
        time.sleep(0.3)
        # Which of the workers has the call is the dispatcher's secret: kill the puppets' only one.
        [pid] = [w.pid for w in conveyor.workers() if "puppet:Puppet" in " ".join(w.cmdline())]
        os.kill(pid, signal.SIGKILL)
        error = conveyor.read(call).outcome.error
        assert error.type == "WorkerLost"
        assert "SIGKILL" in error.message
        assert conveyor.run("puppet", "next\n").outcome.value == ["next"]
        assert pid in before

    def test_a_tool_that_ends_its_process_is_an_error(self, conveyor: Harness) -> None:
        error = conveyor.run("puppet", "die\nmore").outcome.error
        assert (error.type, "exit code 7" in error.message) == ("WorkerLost", True)


class TestRefusals:
    def test_an_unknown_tool_is_refused_with_the_known_ones(self, conveyor: Harness) -> None:
        status, message = conveyor.refusal(m.CreateCall, "nope", "r", True, 0.0)
        assert status == 400
        assert "async_puppet, nothing, puppet" in message

    def test_a_call_takes_one_request(self, conveyor: Harness) -> None:
        call = conveyor.create("nothing")
        conveyor.attach(call)
        status, message = conveyor.refusal(m.AttachRequest, call, "f" * 32, [], False, True)
        assert (status, "one request" in message) == (400, True)

    def test_an_id_that_was_never_given_out_is_unknown(self, conveyor: Harness) -> None:
        assert conveyor.refusal(m.ReadCall, "0" * 48, 0.0)[0] == 404
        assert (
            conveyor.refusal(m.ReadCall, "\ud800".encode("utf-8", "replace").decode(), 0.0)[0]
            == 404
        )

    def test_a_result_is_gone_when_it_has_expired(self) -> None:
        with dispatcher([NOTHING], retention=Retention(seconds=0.5)) as conveyor:
            call = conveyor.create("nothing")
            conveyor.attach(call)
            conveyor.decode(call, "x", STOP)
            assert conveyor.read(call).state == "done"
            wait_until(
                lambda: isinstance(conveyor.ask(m.ReadCall, call, 0.0), m.Refused), "the expiry"
            )
            assert conveyor.refusal(m.ReadCall, call, 0.0)[0] == 410


class TestBadBytes:
    def test_bytes_that_are_no_message_are_dropped(self, conveyor: Harness) -> None:
        for junk in (b"", b"\x01", b"\x02\x90", os.urandom(64), b"\x01" + os.urandom(1000)):
            conveyor.tap.send(junk)
            conveyor.control.send(junk)
        assert conveyor.run("puppet", "fine\n").outcome.value == ["fine"]


class TestShutdown:
    def test_nothing_is_left_when_the_dispatcher_ends(self) -> None:
        with dispatcher([PUPPET, "python"]) as conveyor:
            call = conveyor.create("puppet", "ends")
            conveyor.attach(call)
            conveyor.decode(call, "one\n")
            started = psutil.Process(conveyor.process.pid).children(recursive=True)
            conveyor.process.terminate()
            conveyor.process.wait(10)
        _, alive = psutil.wait_procs(started, timeout=10)
        assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []

    def test_nothing_is_left_when_the_dispatcher_is_killed(self) -> None:
        with dispatcher([PUPPET, "python"]) as conveyor:
            started = psutil.Process(conveyor.process.pid).children(recursive=True)
            conveyor.process.kill()
            conveyor.process.wait(10)
            _, alive = psutil.wait_procs(started, timeout=10)
            assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


class TestOddResults:
    def test_an_integer_of_any_size_is_a_result(self) -> None:
        with dispatcher(["tests.tools.puppet:Large"]) as conveyor:
            assert conveyor.run("large", "x").outcome.value == 2**70

    def test_output_never_resets_the_limit_of_a_hook(self, conveyor: Harness) -> None:
        call = conveyor.create("puppet")
        conveyor.attach(call)
        conveyor.decode(call, "chatter 20\nmore")
        assert conveyor.read(call).outcome.error.type == "ToolTimeout"
