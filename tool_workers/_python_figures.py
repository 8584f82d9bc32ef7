"""The figures of a program in the python tool: what it showed or left open, as PNG."""

from __future__ import annotations

import io
import sys
from typing import Any
from weakref import WeakKeyDictionary

#: Figures of one call; pixels of one figure; bytes of all of them together.
MAX_FIGURES = 20
MAX_PIXELS = 16_000_000
MAX_BYTES = 8 * 1024 * 1024


class Figures:
    """Draws figures; one that passes a limit is dropped, and a line of output says so."""

    def __init__(self) -> None:
        self.images: list[bytes] = []
        self._shown = 0
        self._bytes = 0
        # What each figure looked like when it was kept last.
        self._kept: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()

    def show(self, figure: Any) -> None:
        """Keep a figure as it is now, if it was not kept like that before.

        Args:
            figure: matplotlib's.

        Raises:
            Exception: whatever matplotlib raises while it draws.
        """
        from matplotlib import rc_context

        self._shown += 1
        width, height = (int(inches * figure.dpi) for inches in figure.get_size_inches())
        if len(self.images) >= MAX_FIGURES:
            self._dropped(f"there are more than {MAX_FIGURES}")
        elif width * height > MAX_PIXELS:
            self._dropped(f"{width} x {height} pixels are more than {MAX_PIXELS}")
        else:
            file = io.BytesIO()
            # A tight box could have any size: it follows what is drawn outside of the figure.
            with rc_context({"savefig.bbox": "standard"}):
                figure.savefig(file, format="png", dpi=figure.dpi)
            self._keep(figure, file.getvalue())

    def show_open(self) -> None:
        """Keep all figures that are open in pyplot, in the order of their numbers; close them.

        Raises:
            Exception: whatever matplotlib raises while it draws.
        """
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            pyplot.close(figure)
            self.show(figure)

    def _keep(self, figure: Any, image: bytes) -> None:
        if self._kept.get(figure) == image:
            return
        if self._bytes + len(image) > MAX_BYTES:
            self._dropped(f"the figures have more than {MAX_BYTES} bytes together")
            return
        self._bytes += len(image)
        self._kept[figure] = image
        self.images.append(image)

    def _dropped(self, reason: str) -> None:
        print(f"[figure {self._shown} was dropped: {reason}]")


#: Those of the one call that this process serves: matplotlib's backend finds them here.
figures = Figures()
