"""matplotlib's backend in the python tool: Agg, and what is shown becomes a part of the result.

matplotlib imports it, as MPLBACKEND names it; nobody else does.
"""

from __future__ import annotations

from typing import Any

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tool_workers._python_figures import figures


class FigureManager(FigureManagerBase):
    """What `plt.show()` and `figure.show()` come to."""

    @classmethod
    def pyplot_show(cls, *args: Any, **kwargs: Any) -> None:
        figures.show_open()

    def show(self) -> None:
        figures.show(self.canvas.figure)


class FigureCanvas(FigureCanvasAgg):
    """Agg's canvas, which draws without a display."""

    manager_class = FigureManager
