"""python -m bench.measure.streams RUNS: keep token streams of real decodings, to play them again.

RUNS is what `bench.measure.workloads` wrote. Of each call that ended by itself in both modes, the
commits of the sequential and of the partial run are kept: two decodings of one text, as different
as they are on a real machine. `bench.measure.theory_grid` plays them to the dispatcher.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.analyse.runs import Recording
from bench.workloads.recorded import RECORDED, WORKLOADS

#: Beside the recorded texts, in a folder of its own: it is no list of texts.
PATH = RECORDED / "streams" / "pairs.json"
#: Streams are played this many times as fast as they were decoded; what differs between two
#: decodings, in proportion, stays as it was.
SPEED = 2.0
#: Commits that are kept of a run: the longest text of the grid has no more tokens.
MOST_TOKENS = 130


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two decodings of one text.

    Args:
        workload, call: which text.
        sequential_ms, partial_ms: the commit of each token, in milliseconds since the POST.
    """

    workload: str
    call: int
    sequential_ms: list[int]
    partial_ms: list[int]

    def commits(self, count: int, *, partial: bool) -> list[float]:
        """When the tokens of a text are to be committed (seconds since the POST).

        Args:
            count: how many tokens; if there are more than were recorded, the steps between the
                recorded ones come again.
            partial: which of the two decodings.
        """
        offsets = self.partial_ms if partial else self.sequential_ms
        steps = [after - before for before, after in itertools.pairwise(offsets)]
        repeated = itertools.islice(itertools.cycle(steps), count - 1)
        return [at / 1000 / SPEED for at in itertools.accumulate(repeated, initial=offsets[0])]


def load() -> list[Pair]:
    """Read the recorded pairs."""
    return msgspec.json.decode(PATH.read_bytes(), type=list[Pair])


def pairs_of(recording: Recording) -> list[Pair]:
    """The pairs of a recording's calls that ended by themselves in both modes."""
    return [
        Pair(
            workload=workload,
            call=held.call,
            sequential_ms=_milliseconds(held.timings.tokens),
            partial_ms=_milliseconds(partial.timings.tokens),
        )
        for workload in WORKLOADS
        for held, partial in recording.pairs(workload, "sequential", "partial")
        if held.ended == partial.ended == "done"
    ]


def _milliseconds(tokens: Sequence[float]) -> list[int]:
    return [round(1000 * at) for at in tokens[:MOST_TOKENS]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    pairs = pairs_of(Recording.load(parser.parse_args().runs))
    PATH.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(msgspec.json.encode(pair).decode() for pair in pairs)
    PATH.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
