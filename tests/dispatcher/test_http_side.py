"""What the HTTP process says, without its socket."""

from __future__ import annotations

from typing import Any

import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.dispatcher import http_side
from sgl_conveyor.dispatcher.http_side import HttpSide


class Files:
    """In place of the tokenizers' class: which files were read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def from_file(self, file: str) -> object:
        if "bad" in file:
            raise Exception("No such file")
        self.read.append(file)
        return object()


def test_a_hello_that_is_said_again_costs_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    files, hellos = Files(), []
    monkeypatch.setattr(http_side, "Tokenizer", files)
    nobody: Any = None
    side = HttpSide(nobody, nobody, lambda: hellos.append("hello"))
    for pid, file in [(1, "a"), (1, "a"), (1, "bad"), (1, "a"), (2, "a"), (2, "a")]:
        side._received([b"peer", m.encode(m.HttpHello(pid, file))])
    # Of a server that was started again it is another one.
    assert files.read == ["a", "a"]
    assert len(hellos) == 5
