"""The workloads' runs: what figures, pictures and the theory are made from."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sgl_conveyor.timings import Timings

#: The four modes, in the order of the tables.
MODES = ("stock", "sequential", "client", "partial")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One call of one workload in one mode.

    Args:
        workload: its name.
        call: the number of the recorded text (in `bench/recorded/NAME.json`).
        mode: one of `MODES`.
        latency_s: from the client's first byte until it has the result and the decoding has ended,
            as a program needs both to go on (seconds).
        result_s: until it has the result; sooner than that where a tool aborts (seconds).
        decode_s: until the decoding has ended, as the client can know it (seconds).
        ended: `done`, `aborted` or `failed`.
        value: the result as text, to compare the modes.
        timings: the call's, with t = 0 as the client began.
    """

    workload: str
    call: int
    mode: str
    latency_s: float
    result_s: float
    decode_s: float
    ended: str
    value: str
    timings: Timings


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where, when and of what it was measured.

    Args:
        date: of the measurement, as ISO 8601 has it.
        cores: of the CPU, those that may be used.
        memory_gib: of the machine.
        gpu: its name, or `none`.
        versions: of what is underneath, by the package's name.
        command: that measured.
        package: the version of SGL Conveyor.
        commit: of the checkout, with `+changes` if it was changed since; empty without git.
        model: what the servers serve; a folder by its name.
    """

    date: str
    cores: int
    memory_gib: float
    gpu: str
    versions: dict[str, str]
    command: str
    package: str = ""
    commit: str = ""
    model: str = ""

    def __str__(self) -> str:
        gpu = "no GPU" if self.gpu == "none" else self.gpu
        return f"{self.cores} CPU cores, {self.memory_gib:g} GiB, {gpu}"


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A file of runs."""

    machine: Machine
    runs: list[Run]

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> Recording:
        """Read it.

        Raises:
            msgspec.ValidationError: it is another file.
        """
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def of(self, workload: str, mode: str) -> list[Run]:
        """The runs of a workload in a mode, in the order of their calls."""
        found = [run for run in self.runs if (run.workload, run.mode) == (workload, mode)]
        return sorted(found, key=lambda run: run.call)

    def partial(self, workload: str, call: int | None) -> Run | None:
        """The partial run of a call, if there is one."""
        return next((run for run in self.of(workload, "partial") if run.call == call), None)

    def pairs(self, workload: str, baseline: str, mode: str) -> list[tuple[Run, Run]]:
        """The runs of two modes, call by call."""
        others = {run.call: run for run in self.of(workload, mode)}
        return [
            (run, others[run.call]) for run in self.of(workload, baseline) if run.call in others
        ]
