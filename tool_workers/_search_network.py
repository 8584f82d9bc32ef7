"""How the search tool reaches its endpoint: addresses checked, answers bounded, lines kept."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field

import httpcore
import httpx

#: Bytes of an answer's body.
MAX_ANSWER_BYTES = 4 * 1024**2
#: Seconds for which an unused connection is kept.
_KEPT_S = 60.0
#: Lines without a call that are kept.
_MAX_KEPT = 64

_Options = Iterable[
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
]


class PrivateAddress(Exception):
    """The endpoint's host is not on the public internet."""


class Unreachable(Exception):
    """There is no connection to the endpoint, or it broke."""


class SearchTimeout(Exception):
    """The endpoint did not answer in time."""


class BadAnswer(Exception):
    """The endpoint's answer is none that we understand."""


class Line:
    """An HTTP client for one call at a time, with its own connection to the endpoint.

    Args:
        context: for TLS.
        timeout_s: seconds for one request, connection and answer included.
        allow_private: whether the host may have private addresses.
    """

    def __init__(self, context: ssl.SSLContext, timeout_s: float, *, allow_private: bool) -> None:
        self._timeout_s = timeout_s
        self._transport = _Transport(context, allow_private=allow_private)
        self._client = httpx.AsyncClient(
            transport=self._transport,
            # The answer's limit counts what is received: nothing may unpack to more.
            headers={"User-Agent": "sgl-conveyor", "Accept-Encoding": "identity"},
            timeout=timeout_s,
            follow_redirects=False,
            trust_env=False,
        )

    async def warm(self, origin: httpx.URL, limit_s: float) -> None:
        """See that an idle connection is there; one that cannot be made is left to `get`.

        A HEAD request is the cheapest thing that leaves a connection, with its DNS, TCP and TLS
        behind it, in the client's pool: httpx has no call that only connects. What the endpoint
        answers to it does not matter.

        Args:
            origin: scheme, host and port.
            limit_s: seconds after which it is given up.

        Raises:
            PrivateAddress: the host is not on the public internet.
        """
        if self._transport.is_warm():
            return
        try:
            async with asyncio.timeout(limit_s):
                await self._client.head(origin)
        except (TimeoutError, httpx.HTTPError):
            pass

    async def get(self, url: httpx.URL) -> bytes:
        """The body of an answer.

        Raises:
            PrivateAddress: the host is not on the public internet.
            Unreachable: there is no connection, or it broke.
            SearchTimeout: there was no complete answer in time.
            BadAnswer: its status is not 200, or it is too large.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(url)
        except (TimeoutError, httpx.TimeoutException):
            raise SearchTimeout(
                f"the search endpoint did not answer within {self._timeout_s:g} s"
            ) from None
        except httpx.RemoteProtocolError as error:
            raise BadAnswer(f"the search endpoint does not speak HTTP: {error}") from None
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise Unreachable(f"no connection to the search endpoint: {why}") from None

    async def _get(self, url: httpx.URL) -> bytes:
        async with self._client.stream("GET", url) as response:
            if response.status_code != 200:
                raise BadAnswer(f"the search endpoint answered {response.status_code}, not 200")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadAnswer("the search endpoint compressed its answer, unasked")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise BadAnswer(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            return bytes(body)

    async def rest(self) -> None:
        """Forget what one call has left, but for the connection."""
        self._client.cookies.clear()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()


@dataclass
class KeptLines:
    """The lines that earlier calls of this process left; they live and end with an event loop.

    A call has a line to itself, rather than a client shared by all: so that the connection which
    it warmed while it opened is still idle when its query comes, however many calls there are.
    """

    loop: asyncio.AbstractEventLoop | None = None
    lines: dict[object, list[Line]] = field(default_factory=dict)

    def take(self, key: object) -> Line | None:
        """The line that was used last, if any.

        Args:
            key: the configuration for which it was made.
        """
        if self.loop is not asyncio.get_running_loop():
            self.loop, self.lines = asyncio.get_running_loop(), {}
        lines = self.lines.get(key)
        return lines.pop() if lines else None

    async def put(self, key: object, line: Line) -> None:
        """Keep a line for the next call."""
        lines = self.lines.setdefault(key, [])
        if self.loop is not asyncio.get_running_loop() or len(lines) >= _MAX_KEPT:
            await line.close()
            return
        await line.rest()
        lines.append(line)


class _Transport(httpx.AsyncHTTPTransport):
    """httpx's transport on a network that checks addresses."""

    def __init__(self, context: ssl.SSLContext, *, allow_private: bool) -> None:
        super().__init__(verify=context)
        # httpx has no argument for the network beneath its pool.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            keepalive_expiry=_KEPT_S,
            network_backend=_CheckedNetwork(allow_private=allow_private),
        )

    def is_warm(self) -> bool:
        connections = self._pool.connections
        return any(c.is_idle() and not c.has_expired() for c in connections)


class _CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a host once, checks every address, and connects to one of these.

    Nothing resolves the host again after the check: no second answer of a DNS server can lead
    elsewhere. TLS, above, still asks for a certificate of the host's name.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _Options | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await _resolve(host, port)
        if not self._allow_private:
            for address in addresses:
                if not is_public(address):
                    raise PrivateAddress(
                        f"{host} has the address {address}, which is not on the public internet: "
                        "set SEARCH_ALLOW_PRIVATE to allow it"
                    )
        failure: Exception | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address,
                    port,
                    # One address that does not answer leaves time for the next.
                    timeout / len(addresses) if timeout else None,
                    local_address,
                    socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")


async def _resolve(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from None
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def is_public(address: str) -> bool:
    """Whether an IP address belongs to one machine on the public internet."""
    ip = ipaddress.ip_address(address)
    if any(ip.version == net.version and ip in net for net in _NEVER_PUBLIC):
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = _embedded(ip)
        if inner is not None and not is_public(str(inner)):
            return False
    return ip.is_global and not ip.is_multicast


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that packets to this one end at: mapped, 6to4, Teredo or NAT64."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)


#: What Python's `is_global` lets through: old or local forms that may lead to a private host, a
#: cloud's own services (168.63.129.16), relays to whoever announces them (192.88.99.0/24), and what
#: is for documents (3fff::/20) and for segments inside one network (5f00::/16).
_NEVER_PUBLIC = [
    ipaddress.ip_network(net)
    for net in (
        "::/96", "::ffff:0:0:0/96", "64:ff9b:1::/48", "fec0::/10", "192.0.0.0/24",
        "168.63.129.16/32", "192.88.99.0/24", "3fff::/20", "5f00::/16",
    )
]  # fmt: skip
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
