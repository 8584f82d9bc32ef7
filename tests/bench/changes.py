"""Synthetic recordings with changes, for tests of what is made of them."""

import msgspec

from bench.analyse.findings import findings
from bench.analyse.runs import Recording
from bench.analyse.summary import summarize
from bench.analyse.targets import targets
from tests.bench.synthetic import MACHINE, recording

replace = msgspec.structs.replace


def changed(runs, wanted, **changes):
    """The recording with some runs changed; values that are functions get the run."""

    def change(run):
        values = {k: v(run) if callable(v) else v for k, v in changes.items()}
        return replace(run, **values) if wanted(run) else run

    return Recording(machine=runs.machine, runs=[change(run) for run in runs.runs])


def with_gap(latencies):
    """One workload, whose calls have these latencies, stock and partial."""
    template = recording(calls=1, workloads=["database"]).runs
    by_mode = {run.mode: run for run in template}
    runs = []
    for call, seconds in enumerate(latencies):
        for mode, latency in zip(("stock", "partial"), seconds, strict=True):
            runs.append(replace(by_mode[mode], call=call, latency_s=latency))
    return Recording(machine=MACHINE, runs=runs)


def found_in(runs, **files):
    """The findings of a recording, and of other files if they are given."""
    summary = summarize(runs)
    return findings(runs, summary, targets(summary, **files))


def texts(runs, **files):
    """The findings' sentences."""
    return [finding.text for finding in found_in(runs, **files)]
