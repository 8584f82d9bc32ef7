"""Mutated and replayed frames at every socket of a real dispatcher, while honest calls go on.

    python -m bench.fuzz [--seconds 600] [--seed N] [--places sandbox worker http tap]
                         [--first N] [--json FILE]

sandbox  what a python call writes on its worker's channel, from inside the real sandbox
worker   what a trusted tool writes on its worker's channel, before its hello too
http     what comes on the control socket, in ZeroMQ's messages and in broken ZMTP
tap      what comes on the tap's socket, the same

What counts as harm, from any place: the dispatcher ends, or does not answer within 10 s; it logs a
traceback, or answers 500; it grows by more than 64 MiB, or 100 open files; it uses half a core once
nobody asks for anything; an honest call has a wrong result, or takes longer than 20 s.
Beyond that:
- A sandbox and a trusted worker are given the ids of honest calls, and may do nothing to them.
  Their own calls may end as they like, and their workers too. A worker's frames are small: a
  trusted one may send 64 MiB at once, and the dispatcher then holds it.
- The HTTP side and the tap are trusted with what they mean: whoever deletes an honest call there
  has deleted it. They use calls and requests of their own. Of messages that mean all requests, a
  hello of another process is sent as ours, and a list of those that live with the honest ones.
What the dispatcher sends is trusted: workers and SGLang's processes are not fuzzed.

The same seed sends the same frames but for the ids of calls, which the dispatcher makes, and times.
The sessions of each place have numbers: `--places NAME --first NUMBER` begins where something was
harmed.
Exit code 1: something was harmed.
"""

from __future__ import annotations

import sys

import msgspec

from bench.fuzz.report import shown
from bench.fuzz.run import PLACES, fuzz
from bench.measure.command import command


def main() -> int:
    parser = command(__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--places", nargs="+", choices=PLACES, default=list(PLACES))
    parser.add_argument("--first", type=int, default=0, help="the number of the first sessions")
    args = parser.parse_args()
    report = fuzz(args.seconds, args.seed, args.places, first=args.first)
    print(shown(report))
    if args.json is not None:
        args.json.write_bytes(msgspec.json.encode(report))
    return 1 if report.harmed else 0


if __name__ == "__main__":
    sys.exit(main())
