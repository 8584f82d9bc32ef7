"""Small tools for plans, whose waits stand for the latency of remote services.

A server gets them with `--tools`, and `planning` with them; see `programs/planning.py`.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from sgl_conveyor.tools import tool

#: How long a service takes, in seconds.
Seconds = Annotated[float, Field(ge=0, le=10)]
#: How far a forecast looks.
Months = Annotated[int, Field(ge=1, le=120)]

#: Figures of a made-up shop, a month each: what `load_series` has.
SERIES = {
    "revenue": [410.0, 385.5, 452.0, 470.25, 498.0, 512.5],
    "costs": [300.0, 310.0, 322.5, 330.0, 341.0, 355.5],
    "visitors": [8200.0, 7900.0, 9100.0, 9400.0, 9950.0, 10300.0],
    "orders": [410.0, 402.0, 455.0, 481.0, 502.0, 530.0],
}
#: Mean radii of planets in kilometres: what `slow_lookup` has.
RADII = {
    "mercury": 2439.7, "venus": 6051.8, "earth": 6371.0, "mars": 3389.5,
    "jupiter": 69911.0, "saturn": 58232.0, "uranus": 25362.0, "neptune": 24622.0,
}  # fmt: skip


class Settings(BaseSettings):
    """Where `append_note` writes.

    Args:
        notes: a file, in the server's working directory if its path is relative.
    """

    model_config = SettingsConfigDict(env_prefix="PLAN_TOOLS_")

    notes: Path = Path("plan-notes.txt")


async def service(seconds: float) -> None:
    """Take so long as a remote service would."""
    await asyncio.sleep(seconds)


@tool(read_only=True)
async def load_series(name: str, delay_s: Seconds = 0.5) -> list[float]:
    """The monthly figures of a made-up shop: revenue, costs, visitors or orders."""
    await service(delay_s)
    if name not in SERIES:
        raise ValueError(f"there is no series {name!r}, only {', '.join(SERIES)}")
    return SERIES[name]


@tool(read_only=True)
async def slow_lookup(key: str, seconds: Seconds = 0.5) -> float:
    """The mean radius of a planet in kilometres, from a slow service."""
    await service(seconds)
    if key.lower() not in RADII:
        raise ValueError(f"there is no planet {key!r}")
    return RADII[key.lower()]


@tool(read_only=True)
async def forecast(values: list[float], months: Months, seconds: Seconds = 0.5) -> list[float]:
    """The straight line through the values, continued for some months, from a slow service."""
    await service(seconds)
    line = statistics.linear_regression(range(len(values)), values)
    ahead = range(len(values), len(values) + months)
    return [round(line.intercept + line.slope * month, 2) for month in ahead]


@tool(read_only=True)
async def mean(values: list[float]) -> float:
    """The mean of the values."""
    return statistics.fmean(values)


@tool(read_only=True)
async def total(values: list[float]) -> float:
    """The sum of the values."""
    return math.fsum(values)


@tool(read_only=True)
async def compute_ratio(a: float, b: float) -> float:
    """`a` divided by `b`."""
    return a / b


@tool(read_only=True)
async def difference(a: float, b: float) -> float:
    """`a` less `b`."""
    return a - b


@tool
def append_note(text: str | float | list[float]) -> str:
    """Append a line to the file of notes: an outside effect, so a plan does it at its end."""
    notes = Settings().notes
    with notes.open("a", encoding="utf-8") as file:
        file.write(" ".join(str(text).split()) + "\n")
    return f"noted in {notes.name}"
