"""A search endpoint that does as it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

#: Seconds that something may take to happen, on a busy machine.
SOON = 8.0
#: What is sent for a request's target; None: nothing, and the connection stays open.
Answer = Callable[[str], bytes | None]


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def results(*urls: str) -> bytes:
    found = [{"title": f"Title of {url}", "url": url, "content": "text"} for url in urls]
    return http(json.dumps({"results": found}).encode())


def echo(target: str) -> bytes:
    """One result, whose address says what was asked."""
    return results("https://example.org/?" + urlsplit(target).query)


class Endpoint:
    """An HTTP server in a thread; it keeps what it was asked, and by which connection.

    Args:
        answer: to GET.
        pause_s: seconds between the bytes of what it sends.
    """

    def __init__(self, answer: Answer, pause_s: float = 0.0) -> None:
        self.requests: list[tuple[int, str, str]] = []
        self.connections = 0
        self.open: set[int] = set()
        self._answer = answer
        self._pause_s = pause_s
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def asked(self) -> list[dict[str, str]]:
        """The queries, in the order in which they came."""
        targets = [target for _, method, target in self.requests if method == "GET"]
        return [{k: v[0] for k, v in parse_qs(urlsplit(t).query).items()} for t in targets]

    def __enter__(self) -> Endpoint:
        self._thread.start()
        assert self._started.wait(SOON)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))

    def _pieces(self, answer: bytes) -> list[bytes]:
        size = 1 if self._pause_s else max(1, len(answer))
        return [answer[at : at + size] for at in range(0, len(answer), size)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self.open.add(number)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
                self.requests.append((number, method, target))
                answer = http(b"") if method == "HEAD" else self._answer(target)
                for piece in self._pieces(answer or b""):
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(self._pause_s)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.open.discard(number)
            writer.close()
