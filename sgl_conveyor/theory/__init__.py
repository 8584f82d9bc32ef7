"""When partial execution pays, and how much: the model, without I/O (at length: docs/theory.md).

A region is decoded from t = 0, when the client sends its POST, to E, the commit of its finishing
token. Its unit i is certain at aᵢ ≤ E and costs cᵢ; the tool opens from o for c₀, so f₀ = o + c₀;
`finish` costs c_f once the region has ended and all units are done. The tool takes one unit at a
time, in order:

    partial      fᵢ = max(fᵢ₋₁, aᵢ) + cᵢ         P = max(fₙ, E) + c_f
    sequential   the text is held until E        S = max(f₀, E) + Σc + c_f

Unrolled, each max picks one of two ways to have come here, so P is the longest path:

    P = c_f + max(E, f₀ + Σc, max over k of aₖ + Σᵢ≥ₖ cᵢ)

and the k of the maximum is what stood in the way: before it the tool waited for text, from it on
the program waits for the tool. With C = Σc + c_f and f₀ ≤ E (else P = S):

    S − P ≤ min(C − c_f − cₙ·[aₙ = E], E − max(a₁, f₀))      what can be hidden
    1 − P/S ≤ (1 − α)/(2 − α) < 1/2 with α = max(a₁, f₀)/E   P ≥ max(E, αE + C), S = E + C

n equal units, evenly spread (aᵢ = iD/n, cᵢ = C/n, nothing else): P = max(D, C) + min(D, C)/n, so
the reduction is (1 − 1/n)·min(D, C)/(D + C): at D = C it is ½(1 − 1/n). An abort by unit k ends
the call at fₖ, not at E, and may save more than half. Steps that need not wait for each other are
a graph of dependencies instead of the chain: P is its longest path, or for m workers a greedy
schedule, at most (the work)/m longer than that path.
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
