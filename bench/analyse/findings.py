"""What is slower than a baseline or falls short of its target, with the reason and the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench.analyse.runs import MODES, Recording
from bench.analyse.statistics import percent
from bench.analyse.summary import Summary, WorkloadFigures
from bench.analyse.targets import HEADLINE_WORKLOADS, Target
from sgl_conveyor.theory import explain


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know before the good news.

    Args:
        slower: whether partial is slower than something; else it falls short of a target.
        text: what, in a sentence.
        workload, call: the partial run that shows it, if there is one.
        why: what its trace says.
    """

    slower: bool
    text: str
    workload: str = ""
    call: int | None = None
    why: str = ""


def findings(recording: Recording, summary: Summary, targets: Sequence[Target]) -> list[Finding]:
    """Everything that is slower, then everything that falls short or was not measured."""
    found: list[Finding] = []
    for name, figures in summary.workloads.items():
        found += _slower(name, figures)
        found += [Finding(slower=False, text=text) for text in _gaps(recording, name, figures)]
    found += [
        Finding(
            slower=target.slower,
            text=f"{target.name}: {target.figure}, not {target.limit}{target.detail}.",
            workload=target.workload,
            call=target.call,
        )
        for target in targets
        if target.state == "missed"
    ]
    absent = [target.name for target in targets if target.state == "not measured"]
    if absent:
        found.append(Finding(slower=False, text=f"Not measured: {'; '.join(absent)}."))
    found = [_explained(recording, finding) for finding in found]
    return sorted(found, key=lambda finding: not finding.slower)


def faults(recording: Recording, summary: Summary) -> list[str]:
    """What makes the figures unsound: runs that failed, and modes that did not end alike."""
    failed = [
        f"{run.workload} {run.call}, {run.mode}: failed"
        for run in recording.runs
        if run.ended == "failed"
    ]
    differ = [
        f"{name} {call.call}: {', '.join(f'{mode} {how}' for mode, how in call.ended.items())}"
        for name, figures in summary.workloads.items()
        for call in figures.calls
        if len(set(call.ended.values())) > 1
    ]
    return sorted(failed) + differ


def _slower(name: str, figures: WorkloadFigures) -> Iterator[Finding]:
    for baseline in ("stock", "sequential", "client"):
        interval = figures.reduction(baseline)
        if interval is None or interval.value >= 0:
            continue
        calls = [call for call in figures.calls if baseline in call.reductions]
        worst = min(calls, key=lambda call: call.reductions[baseline])
        certain = interval.high < 0
        yield Finding(
            slower=True,
            text=f"{name}: partial is slower than {baseline} by {percent(-interval.value)} "
            f"(median of {len(calls)} calls, 95 % interval {percent(-interval.high)} to "
            f"{percent(-interval.low)}{'' if certain else '; the interval contains 0'}).",
            workload=name,
            call=worst.call if certain else None,
        )
    # Of the headline's workloads this is a target.
    slow = [call for call in figures.calls if call.reductions.get("stock", 0.0) < 0]
    if slow and name not in HEADLINE_WORKLOADS:
        worst = min(slow, key=lambda call: call.reductions["stock"])
        lost = -worst.reductions["stock"]
        yield Finding(
            slower=True,
            text=f"{name}: {len(slow)} of {len(figures.calls)} calls took longer than on stock; "
            f"the worst is call {worst.call}: {percent(lost)} "
            f"({1e3 * lost * worst.latency_s['stock']:.0f} ms).",
            workload=name,
            call=worst.call,
        )


def _gaps(recording: Recording, name: str, figures: WorkloadFigures) -> Iterator[str]:
    """What is not in a workload's figures, or not alike."""
    failed = [run for run in recording.runs if run.workload == name and run.ended == "failed"]
    for text, which in (
        ("no bound is known for the calls", [c.call for c in figures.calls if c.bound_s is None]),
        ("not measured in the modes", [mode for mode in MODES if figures.mode(mode) is None]),
        ("failed, so in no figure:", sorted({f"call {run.call} ({run.mode})" for run in failed})),
        ("the modes' results differ in the calls", [c.call for c in figures.calls if not c.alike]),
    ):
        if which:
            yield f"{name}: {text} {', '.join(map(str, which))}."


def _explained(recording: Recording, finding: Finding) -> Finding:
    if (run := recording.partial(finding.workload, finding.call)) is None:
        return finding
    try:
        return msgspec.structs.replace(finding, why=str(explain(run.timings)))
    except ValueError:
        return finding
