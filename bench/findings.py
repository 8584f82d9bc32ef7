"""What is slower than a baseline or falls short of its target, with the reason and the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench.runs import MODES, Recording
from bench.statistics import percent
from bench.summary import Summary, WorkloadFigures
from bench.targets import HEADLINE_WORKLOADS, Target
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
    """Everything that is slower, then everything that falls short or was not measured.

    Args:
        recording: the runs.
        summary: their figures.
        targets: all of them, met or not.
    """
    found: list[Finding] = []
    for name, figures in summary.workloads.items():
        found += _slower(name, figures)
        found += _incomplete(recording, name, figures)
    found += [_missed(target) for target in targets if target.state == "missed"]
    absent = [target.name for target in targets if target.state == "not measured"]
    if absent:
        found.append(Finding(slower=False, text=f"Not measured: {'; '.join(absent)}."))
    found = [_explained(recording, finding) for finding in found]
    return sorted(found, key=lambda finding: not finding.slower)


def faults(recording: Recording, summary: Summary) -> list[str]:
    """What makes the figures unsound: runs that failed, and modes that did not end alike.

    Args:
        recording: the runs.
        summary: their figures.
    """
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
        calls = [call for call in figures.calls if baseline in call.reductions]
        if interval is None or interval.value >= 0:
            continue
        worst = min(calls, key=lambda call: call.reductions[baseline])
        certain = interval.high < 0
        noise = "" if certain else "; the interval contains 0"
        yield Finding(
            slower=True,
            text=(
                f"{name}: partial is slower than {baseline} by {percent(-interval.value)} "
                f"(median of {len(calls)} calls, 95 % interval "
                f"{percent(-interval.high)} to {percent(-interval.low)}{noise})."
            ),
            workload=name,
            call=worst.call if certain else None,
        )
    # Of the headline's workloads this is a target.
    slow = [call for call in figures.calls if call.reductions.get("stock", 0.0) < 0]
    if slow and name not in HEADLINE_WORKLOADS:
        worst = min(slow, key=lambda call: call.reductions["stock"])
        lost = -worst.reductions["stock"]
        stock_s = worst.latency_s["stock"]
        yield Finding(
            slower=True,
            text=(
                f"{name}: {len(slow)} of {len(figures.calls)} calls took longer than on stock; "
                f"the worst is call {worst.call}: {percent(lost)} ({1e3 * lost * stock_s:.0f} ms)."
            ),
            workload=name,
            call=worst.call,
        )


def _missed(target: Target) -> Finding:
    return Finding(
        slower=target.slower,
        text=f"{target.name}: {target.figure}, not {target.limit}{target.detail}.",
        workload=target.workload,
        call=target.call,
    )


def _incomplete(recording: Recording, name: str, figures: WorkloadFigures) -> Iterator[Finding]:
    without = [str(call.call) for call in figures.calls if call.bound_s is None]
    if without:
        text = f"{name}: no bound is known for the calls {', '.join(without)}."
        yield Finding(slower=False, text=text)
    unmeasured = [mode for mode in MODES if figures.mode(mode) is None]
    if unmeasured:
        text = f"{name}: not measured in the modes {', '.join(unmeasured)}."
        yield Finding(slower=False, text=text)
    failed = [run for run in recording.runs if run.workload == name and run.ended == "failed"]
    if failed:
        which = ", ".join(sorted({f"call {run.call} ({run.mode})" for run in failed}))
        yield Finding(slower=False, text=f"{name}: failed, so in no figure: {which}.")
    unlike = [str(call.call) for call in figures.calls if not call.alike]
    if unlike:
        text = f"{name}: the modes' results differ in the calls {', '.join(unlike)}."
        yield Finding(slower=False, text=text)


def _explained(recording: Recording, finding: Finding) -> Finding:
    if finding.call is None:
        return finding
    for run in recording.of(finding.workload, "partial"):
        if run.call == finding.call:
            try:
                return msgspec.structs.replace(finding, why=str(explain(run.timings)))
            except ValueError:
                return finding
    return finding
