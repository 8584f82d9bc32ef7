"""A tool that does nothing: what is measured with it is ours."""

from __future__ import annotations

from sgl_conveyor.tools import Tool


class Nothing(Tool):
    """Takes each piece of text and does nothing with it, for 64 calls in one worker."""

    async def on_text(self, delta: str) -> None:
        pass

    async def finish(self) -> None:
        return None
