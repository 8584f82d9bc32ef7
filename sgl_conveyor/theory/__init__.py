"""When partial execution pays, and how much: the model, without I/O (at length: docs/theory.md).

A region is decoded from t = 0, when the client sends its POST, to E, the commit of its finishing
token. Its unit i is certain at aᵢ, a₁ ≤ … ≤ aₙ ≤ E (aₙ = E if the last unit ends the region), and
costs cᵢ. The tool opens from o for c₀, so f₀ = o + c₀; `finish` costs c_f once the region has ended
and all units are done. The tool takes one unit at a time, in order:

    partial      fᵢ = max(fᵢ₋₁, aᵢ) + cᵢ         P = max(fₙ, E) + c_f
    sequential   the text is held until E        S = max(f₀, E) + C       with C = Σc + c_f

Longest path. Each max is one of two ways to have come to a unit: the tool was busy, or it waited
for text. After the last wait, for unit k say, it was never free, so P is the longest path:

    P = c_f + max(E, f₀ + Σc, max over k of aₖ + Σᵢ≥ₖ cᵢ)

and the k of the maximum is what stood in the way: before it the tool waited for text, from it on
the program waits for the tool. No scheduler beats this path with o = 0, for c₀ may start at the
request: that is `bound`. A later o (a queue, a wait for a worker) and dispatch are our overhead.

Less than half. Let f₀ ≤ E (else P = S), and α = max(a₁, f₀)/E. Then S = E + C, and P ≥ E and
P ≥ αE + C, two of its paths, so

    1 − P/S ≤ 1 − max(E, αE + C)/(E + C) ≤ (1 − α)/(2 − α) < 1/2

with the second equality at C = (1 − α)E, and the last step because no token is committed at t = 0.
What is hidden is limited from both ends: S − P ≤ E − αE, the time that there is, and
S − P ≤ C − c_f − Σ(cₖ with aₖ = E), the work that need not wait for the end.

Equal units. n of them, evenly spread (aᵢ = iD/n, cᵢ = T/n, nothing else): aₖ + (n − k + 1)T/n is
linear in k, so the longest path starts with the first unit or the last: P = max(D, T) +
min(D, T)/n, and the reduction is (1 − 1/n)·min(D, T)/(D + T): at D = T it is ½(1 − 1/n).

The paper's quantities (arXiv 2406.00059). Without partial execution D + T, with it max(D, T): S and
P of such units as n grows, with E = D and c₀ = c_f = 0.

Early abort. The hook of unit k decides at fₖ, decoding stops within two steps δ, or by itself:
P = max(fₖ, min(fₖ + 2δ, E)), against E + C for a tool that runs all. With free checks that is
1 − (aₖ + 2δ)/(E + C). Nothing below 1 limits it: what it saves is decoding.

Several regions. A program that awaits each result adds up both P and S: its reduction is an average
of theirs, below 1/2. If it reads results later, P is the maximum over the regions r of (start of
r) + Pᵣ, and the end of the last region: against a program that awaits, only 1 limits the reduction.

Parallel workers. Steps that need not wait for each other are a graph instead of the chain:
fᵢ = max(aᵢ, f₀, fⱼ of each j that i waits for) + cᵢ, and P is its longest path, with a reduction
below 1/2 against the same graph held until E, since that takes E and then its longest path. With m
workers a greedy schedule ends at most (all work)/m after that path.
"""

from sgl_conveyor.theory.abort import ABORT_STEPS, AbortBound, abort_bound
from sgl_conveyor.theory.explain import Hidden, explain
from sgl_conveyor.theory.model import (
    Prediction,
    Trace,
    bound,
    even,
    even_reduction,
    longest_path,
    predict,
    saved,
)
from sgl_conveyor.theory.program import Region, predict_program
from sgl_conveyor.theory.schedule import OPENING, REGION_END

__all__ = [
    "ABORT_STEPS",
    "OPENING",
    "REGION_END",
    "AbortBound",
    "Hidden",
    "Prediction",
    "Region",
    "Trace",
    "abort_bound",
    "bound",
    "even",
    "even_reduction",
    "explain",
    "longest_path",
    "predict",
    "predict_program",
    "saved",
]
