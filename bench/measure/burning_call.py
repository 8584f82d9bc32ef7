"""How much slower a model decodes beside a python call that burns every core.

    python -m bench.measure.burning_call [--rounds 6] [--tokens 96] [--url URL]

In turn: a plain request alone, and one beside a call whose program forks twenty processes that
never end. Exit code 1: the median loss passes 10 %.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import httpx
import msgspec
from rich.console import Console

from bench.analyse.statistics import Interval, bootstrap, percents
from bench.measure.command import command, count
from sgl_conveyor.demo.server import running_server
from sgl_conveyor.errors import ConveyorError
from sgl_conveyor.literal import literal_grammar

MOST_LOSS = 0.10
_LIMIT_S = 300.0
#: Burns for as long as a hook may take: 30 s.
_BURNING = """\
import os, time
for _ in range(20):
    if os.fork() == 0:
        while True:
            pass

time.sleep(28)
"""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that the same request took, alone and beside the burning call."""

    alone_s: float
    beside_s: float


def measure(client: httpx.Client, rounds: int, tokens: int) -> list[Round]:
    """Decode in turn; the first round warms up and is left out.

    Args:
        client: of a server with the python tool.
        rounds: that count.
        tokens: that each request decodes.

    Raises:
        ConveyorError: the burning call ended too early.
        httpx.HTTPError: a request failed.
    """
    found = []
    for number in range(-1, rounds):
        alone = _decode(client, tokens)
        with _burning(client):
            beside = _decode(client, tokens)
        if number >= 0:
            found.append(Round(alone_s=alone, beside_s=beside))
            print(f"round {number + 1}: alone {alone:.2f} s, beside {beside:.2f} s", flush=True)
    return found


def _decode(client: httpx.Client, tokens: int) -> float:
    parameters = {"max_new_tokens": tokens, "temperature": 0, "ignore_eos": True}
    started = time.monotonic()
    body = {"text": "Once upon a time", "sampling_params": parameters}
    client.post("/generate", json=body).raise_for_status()
    return time.monotonic() - started


@contextlib.contextmanager
def _burning(client: httpx.Client) -> Iterator[None]:
    made = client.post("/conveyor/calls", json={"tool": "python", "region": "burning"})
    call = made.raise_for_status().json()["call"]
    parameters = {
        "max_new_tokens": 200,
        "temperature": 0,
        "ebnf": literal_grammar(_BURNING),
        "custom_params": {"conveyor": {"call": call}},
    }
    body = {"text": "```python\n", "sampling_params": parameters}
    client.post("/generate", json=body).raise_for_status()
    try:
        yield
        view = client.get(f"/conveyor/calls/{call}").raise_for_status().json()
        if view["result"] is not None:
            raise ConveyorError(f"the burning call ended too early: {view['result']}")
    finally:
        client.delete(f"/conveyor/calls/{call}").raise_for_status()


def loss(rounds: list[Round]) -> Interval:
    """What decoding loses beside the call, paired."""
    return bootstrap([1 - r.alone_s / r.beside_s for r in rounds])


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--rounds", type=count, default=6)
    parser.add_argument("--tokens", type=count, default=96)
    parser.add_argument("--url", help="of a running server (default: one is started)")
    args = parser.parse_args()
    server = (
        running_server(["--tools", "python"], Console())
        if args.url is None
        else contextlib.nullcontext(args.url)
    )
    with server as url, httpx.Client(base_url=url, timeout=_LIMIT_S, trust_env=False) as client:
        rounds = measure(client, args.rounds, args.tokens)
    lost = loss(rounds)
    print(f"decoding loses {percents(lost)}")
    if args.json is not None:
        args.json.write_bytes(msgspec.json.encode(rounds))
    return 1 if lost.value > MOST_LOSS else 0


if __name__ == "__main__":
    sys.exit(main())
