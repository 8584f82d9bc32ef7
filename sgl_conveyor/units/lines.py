"""Lines of a region's text."""


class LineSplitter:
    """Splits text into lines, without their endings (`\\n` or `\\r\\n`)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def feed(self, text: str) -> list[str]:
        """The lines that `text` completes."""
        first, *rest = text.split("\n")
        self._pieces.append(first)
        if not rest:
            return []
        lines = ["".join(self._pieces), *rest[:-1]]
        self._pieces = [rest[-1]]
        return [line.removesuffix("\r") for line in lines]

    def close(self) -> list[str]:
        """The last, unterminated line, if there is one."""
        last = "".join(self._pieces)
        self._pieces = []
        return [last] if last else []
