"""What a fuzz run came to, as tables."""

from __future__ import annotations

import pandas as pd

from bench.fuzz.run import Report

_MOST_ENDS = 15


def shown(report: Report) -> str:
    """The report as text.

    Args:
        report: of the run.
    """
    rows = [
        {
            "place": name,
            "sessions": sent.sessions,
            "frames": sent.frames,
            "MiB": round(sent.bytes / 1024**2, 1),
            "ends": sum(sent.ends.values()),
            "different": len(sent.ends),
            "workers ended": report.workers.get(name, 0),
        }
        for name, sent in report.places.items()
    ]
    frames = sum(sent.frames for sent in report.places.values())
    size = sum(sent.bytes for sent in report.places.values()) / 1024**2
    lines = [
        pd.DataFrame(rows).to_string(index=False),
        "",
        f"seed {report.seed}, {report.seconds:.0f} s: {frames} frames, {size:.1f} MiB",
        f"honest calls: {report.honest} right, the slowest {report.slowest_honest_s:.2f} s",
        f"dispatcher: slowest answer {report.slowest_answer_s:.2f} s, grew by "
        f"{report.growth_mib:.1f} MiB and {report.files} open files",
        f"different reasons seen: {report.different_ends} (in {report.log_lines} lines of log)",
    ]
    for name, sent in report.places.items():
        lines.append(f"\nhow calls of {name} ended, or were refused:")
        lines += [f"{count:8d}  {how}" for how, count in sent.ends.most_common(_MOST_ENDS)]
    if report.harmed:
        lines += ["", f"HARMED (seed {report.seed}):", *report.harmed]
    else:
        lines += ["", "nothing was harmed"]
    return "\n".join(lines)
