"""What the pictures have in common: colours, size, and how they are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

#: Okabe and Ito's colours, which the colour-blind tell apart too.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#999999"
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
#: Inches, and dots an inch: 1800 dots wide.
WIDTH, _DPI = 9.0, 200


def save(figure: Figure, path: Path) -> None:
    """Write a picture and forget it.

    Args:
        figure: the picture.
        path: of the PNG.
    """
    # Without the drawing program's name the same figures give the same file.
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})
    pyplot.close(figure)
