"""However a server ends, nothing of it is left; and what of it dies is missed at once."""

from __future__ import annotations

import re
import signal
import threading

import httpx
import psutil
import pytest

from sgl_conveyor.launch_server import READY
from sgl_conveyor.literal import literal_grammar
from tests.dispatcher.harness import wait_until
from tests.runtime.conftest import ToEnd
from tests.runtime.servers import START_LIMIT_S, Server, still_running, title
from tests.runtime.test_http import create, generate, read

#: The issue's limit (seconds).
ORPHAN_LIMIT_S = 10.0
#: Far below the minute that SGLang waits by itself when a process of it has died (seconds).
NOTICED_LIMIT_S = 15.0
#: Seconds until a killed process, which has closed its sockets, is gone.
GONE_LIMIT_S = 5.0


@pytest.fixture
def own_server(to_end: ToEnd) -> Server:
    return to_end.plain.wait()


@pytest.fixture
def restarting_server(to_end: ToEnd) -> Server:
    return to_end.restarting.wait()


class Waiting:
    """A client that decodes a region and one that waits for its result, each in a thread."""

    def __init__(self, server: Server) -> None:
        self._server = server
        with server.client() as client:
            self.call = create(client, "puppet")
        #: What came of both: an error, or the status of an answer.
        self.ends: list[str] = []
        self.threads = [
            threading.Thread(target=self._try, args=(method,), daemon=True)
            for method in (self._decode, self._read)
        ]
        for thread in self.threads:
            thread.start()

    def is_decoded(self) -> bool:
        """Whether tokens come."""
        with self._server.client() as client:
            return read(client, self.call, 0)["timings"]["first_token"] is not None

    def _decode(self, client: httpx.Client) -> httpx.Response:
        return generate(
            client, self.call, max_new_tokens=2000, ebnf=literal_grammar("a line\n" * 500)
        )

    def _read(self, client: httpx.Client) -> httpx.Response:
        return client.get(f"/conveyor/calls/{self.call}", params={"wait": 300})

    def _try(self, method: object) -> None:
        assert callable(method)
        with self._server.client(timeout=300) as client:
            try:
                self.ends.append(str(method(client).status_code))
            except httpx.HTTPError as error:
                self.ends.append(type(error).__name__)


def logged(server: Server, pattern: str) -> list[str]:
    """The lines of a server's log that hold something."""
    log = server.log.read_text(errors="replace")
    return [line for line in log.splitlines() if re.search(pattern, line)]


# SGLang starts twice, and once more in part.
@pytest.mark.timeout(1500)
def test_a_dead_process_of_sglang_is_missed_at_once_and_sglang_restarts(
    restarting_server: Server,
) -> None:
    server = restarting_server
    waiting = Waiting(server)
    wait_until(waiting.is_decoded, "the first token")
    first = server.part("sgl_conveyor.runtime.server")

    server.part("sglang::detokenizer").kill()
    for thread in waiting.threads:
        thread.join(NOTICED_LIMIT_S)
    assert len(waiting.ends) == 2
    assert not {"200", "201"} & set(waiting.ends)
    assert still_running([first], GONE_LIMIT_S) == []
    [line] = logged(server, r"detokenizer \(process \d+\) died")
    assert "restart 1 of 2" in line

    wait_until(lambda: len(logged(server, READY)) == 2, "the second start", START_LIMIT_S)
    with server.client() as client:
        again = create(client, "puppet")
        generate(client, again, ebnf=literal_grammar("say back\nfine\n"))
        assert read(client, again)["result"]["emitted"] == "back"
        old = read(client, waiting.call)
    assert old["state"] in ("aborted", "failed"), old

    second = server.part("sgl_conveyor.runtime.server").pid
    server.part("sglang::scheduler").kill()
    wait_until(lambda: logged(server, r"scheduler.* died.*restart 2 of 2"), "the second death")
    # The third server dies while it loads: nothing is left to start another.
    third: list[psutil.Process] = []

    def starts() -> bool:
        found = [p for p in server.parts() if "sgl_conveyor.runtime.server" in title(p)]
        third[:] = [p for p in found if p.pid != second]
        return bool(third)

    wait_until(starts, "the third start")
    parts = server.parts()
    third[0].kill()
    assert server.process.wait(ORPHAN_LIMIT_S) == 1
    assert logged(server, r"HTTP process \(process \d+\) ended by SIGKILL; the server ends")
    assert still_running(parts, 1.0) == []


def test_the_death_of_the_launcher_ends_the_others(own_server: Server) -> None:
    parts = own_server.parts()
    own_server.process.kill()
    assert still_running(parts, ORPHAN_LIMIT_S) == []


def test_the_dispatcher_may_open_as_many_files_as_there_may_be(server: Server) -> None:
    soft, hard = server.part("sgl_conveyor.dispatcher").rlimit(psutil.RLIMIT_NOFILE)
    assert soft == hard


def test_a_signal_drains_and_ends_everything(server: Server) -> None:
    """The server that all tests share: this is the last of them."""
    parts = server.parts()
    children = [p for p in parts if p.pid != server.process.pid]
    # As a terminal does: to the launcher, whose children are in sessions of their own.
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(ORPHAN_LIMIT_S) == 0
    assert still_running(children, 1.0) == []
    assert not [p for p in psutil.Process().children() if p.pid in {c.pid for c in children}]
