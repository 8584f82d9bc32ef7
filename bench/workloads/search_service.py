"""A local search service behind a network that takes its time: for tests, demo and bench.

python -m bench.workloads.search_service [--port 8443] [--rtt-ms 80] [--work-ms 0] [--directory DIR]

It searches Python's own documentation and answers as SearXNG does, over HTTPS, with a certificate
of its own for 127.0.0.1 and localhost (`DIR/ca.pem` is to be trusted). A relay in front of it adds
the round-trip time, to TCP's handshake, to TLS's, and to each request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import queue
import signal
import socket
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

from bench.workloads.search_index import find, locked, open_index
from sgl_conveyor.processes import die_with_parent

DIRECTORY = Path("~/.cache/sgl-conveyor/search")
#: Results in an answer.
COUNT = 20
#: Seconds for the first start, in which the index is built.
_START_LIMIT_S = 90.0
_READY = "search service ready: "


@dataclass(frozen=True)
class Service:
    """A running service: its address, and the certificate to trust."""

    url: str
    ca: Path


@contextlib.contextmanager
def running_service(
    rtt_ms: float = 80.0,
    work_ms: float = 0.0,
    directory: Path | None = None,
    *,
    uneven: bool = False,
) -> Iterator[Service]:
    """Run the service in a process of its own, on a free port, until the block ends.

    Args:
        rtt_ms: round-trip time of its network (ms).
        work_ms: what each query takes besides (ms).
        directory: where index and certificates are kept.
        uneven: whether that depends on the query: from a quarter of it to 2.5 times as much.

    Raises:
        RuntimeError: it did not start.
    """
    where = (directory or DIRECTORY).expanduser()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "bench.workloads.search_service", "--port", "0",
            "--rtt-ms", str(rtt_ms), "--work-ms", str(work_ms), "--directory", str(where),
            *(["--uneven"] if uneven else []),
        ],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = _first_line(process.stdout)
        if not line.startswith(_READY):
            raise RuntimeError(f"the search service did not start: {line or 'it ended'}")
        yield Service(line.removeprefix(_READY).split()[0], where / "ca.pem")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_line(stream: IO[str]) -> str:
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda: lines.put(stream.readline()), daemon=True).start()
    try:
        return lines.get(timeout=_START_LIMIT_S)
    except queue.Empty:
        raise RuntimeError(
            f"the search service did not start within {_START_LIMIT_S:g} s"
        ) from None


def application(directory: Path, work_s: float, *, uneven: bool) -> Starlette:
    """The service itself.

    Args:
        directory: where its index is.
        work_s: what each query takes besides (seconds).
        uneven: whether that depends on the query.
    """
    index = open_index(directory)

    async def search(request: Request) -> JSONResponse:
        asked = request.query_params
        query, language = asked.get("q", ""), asked.get("language", "all")
        if asked.get("format") != "json" or not query.strip():
            return JSONResponse({"error": "give q, and format=json"}, 400)
        # Some questions take an engine longer than others, the same one always as long.
        share = zlib.crc32(query.encode()) / 2**32
        await asyncio.sleep(work_s * (0.25 + 2.25 * share) if uneven else work_s)
        # All pages are in English.
        known = language in ("all", "auto") or language.split("-")[0] == "en"
        pages = find(index, query, COUNT) if known else []
        results = [
            {**page._asdict(), "engine": "python", "category": "general", "score": 1 / place}
            for place, page in enumerate(pages, 1)
        ]
        return JSONResponse({"query": query, "number_of_results": len(results), "results": results})

    async def healthz(request: Request) -> PlainTextResponse:
        return PlainTextResponse("OK")

    return Starlette(routes=[Route("/search", search), Route("/healthz", healthz)])


def certificate(directory: Path) -> Path:
    """The service's key and certificate; made once, since those who trust it read it once.

    Args:
        directory: where it is, and `ca.pem`.
    """
    path = directory / "server.pem"
    with locked(directory):
        if not (path.exists() and (directory / "ca.pem").exists()):
            ca = trustme.CA()
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            leaf = ca.issue_cert("127.0.0.1", "localhost")
            leaf.private_key_and_cert_chain_pem.write_to_path(path)
            ca.cert_pem.write_to_path(directory / "ca.pem")
    return path


async def relay(listener: socket.socket, port: int, rtt_s: float) -> asyncio.Server:
    """Pass bytes on to a local port as a network would that takes its time.

    Args:
        listener: where clients connect.
        port: of the service.
        rtt_s: the round-trip time (seconds).
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # The client's kernel took its connection as made at once: its first bytes pay for that.
        established = asyncio.get_running_loop().time() + rtt_s
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            _carry(reader, there_writer, rtt_s / 2, established),
            _carry(there_reader, writer, rtt_s / 2, 0.0),
        )

    return await asyncio.start_server(connected, sock=listener)


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float, not_before: float
) -> None:
    """Each piece arrives `delay_s` after it was sent; the end of the stream does too."""
    clock = asyncio.get_running_loop().time
    under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)

    async def send() -> None:
        piece = b"first"
        while piece:
            piece = b""
            with contextlib.suppress(ConnectionError):
                piece = await reader.read(65536)
            await under_way.put((max(clock(), not_before) + delay_s, piece))

    async def arrive() -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - clock())
            if not piece:
                writer.close()
                return
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()

    await asyncio.gather(send(), arrive())


class _Server(uvicorn.Server):
    """Says when it serves, and from then on dies of a SIGTERM at once: it has nothing to finish,
    and clients that keep their connections would hold it up.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._ready()


async def serve(port: int, rtt_s: float, work_s: float, directory: Path, *, uneven: bool) -> None:
    """Serve until SIGTERM.

    Args:
        port: where; 0 for a free one.
        rtt_s: round-trip time (seconds).
        work_s: what each query takes besides (seconds).
        directory: of index and certificates.
        uneven: whether what a query takes depends on it.
    """
    pem = certificate(directory)
    outside, inside = _bound(port), _bound(0)
    here = f"https://127.0.0.1:{outside.getsockname()[1]} (CA {directory / 'ca.pem'})"
    config = uvicorn.Config(
        application(directory, work_s, uneven=uneven),
        ssl_certfile=pem,
        ssl_keyfile=pem,
        log_level="warning",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
    )
    front = await relay(outside, inside.getsockname()[1], rtt_s)
    server = _Server(config, lambda: print(_READY + here, flush=True))
    async with front:
        await server.serve([inside])


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.listen(128)
    return bound


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A local search service.")
    parser.add_argument("--port", type=int, default=8443, help="0: a free one")
    parser.add_argument("--rtt-ms", type=float, default=80.0, help="round-trip time")
    parser.add_argument("--work-ms", type=float, default=0.0, help="what each query takes besides")
    parser.add_argument("--uneven", action="store_true", help="more for some queries than others")
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    args = parser.parse_args()
    directory = args.directory.expanduser()
    serving = serve(args.port, args.rtt_ms / 1e3, args.work_ms / 1e3, directory, uneven=args.uneven)
    asyncio.run(serving)
