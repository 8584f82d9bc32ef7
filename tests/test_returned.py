"""What a call returns: put together from pieces, and weighed."""

from __future__ import annotations

import pytest

from sgl_conveyor import messages as m
from sgl_conveyor.errors import ProtocolError, ResultTooLarge
from sgl_conveyor.returned import Returned


def piece(number: int, data: bytes) -> m.DataPiece:
    return m.DataPiece("c", number, data)


def finished(value: bytes, pieces: int) -> m.Finished:
    return m.Finished("c", value, None, 0.0, 0.0, pieces)


def test_a_value_and_files_come_whole() -> None:
    returned = Returned(1000)
    assert returned.take(piece(0, b"a")) is None
    assert returned.take(piece(1, b"b")) is None
    file = returned.take(m.FileSent("c", "x.png", "image/png", b"c", 2))
    assert isinstance(file, m.FileSent)
    assert file.data == b"abc"
    assert returned.take(piece(0, b"[1,")) is None
    value = returned.take(finished(b"2]", 1))
    assert isinstance(value, m.Finished)
    assert value.value == b"[1,2]"


def test_pieces_that_nobody_took_up_are_no_part_of_the_next() -> None:
    returned = Returned(1000)
    returned.take(piece(0, b"left"))
    returned.take(piece(1, b"behind"))
    returned.take(piece(0, b"4"))
    value = returned.take(finished(b"2", 1))
    assert isinstance(value, m.Finished)
    assert value.value == b"42"


@pytest.mark.parametrize("number", [1, 7, -1])
def test_a_piece_that_is_missing_is_noticed(number: int) -> None:
    returned = Returned(1000)
    with pytest.raises(ProtocolError, match="came after 0"):
        returned.take(piece(number, b"x"))
    with pytest.raises(ProtocolError, match="pieces are announced"):
        returned.take(finished(b"x", 3))


def test_value_files_and_output_have_one_limit_together() -> None:
    def spent(*, emitted: int, attached: int, value: int) -> None:
        returned = Returned(100)
        returned.take(m.Emitted("c", "é" * (emitted // 2)))
        returned.take(piece(0, bytes(attached)))
        returned.take(m.FileSent("c", "f", "x/y", b"", 1))
        returned.take(finished(bytes(value), 0))

    spent(emitted=40, attached=30, value=30)
    with pytest.raises(ResultTooLarge, match="more than 100 bytes"):
        spent(emitted=40, attached=30, value=31)


def test_a_call_that_begins_again_has_all_of_it_again() -> None:
    returned = Returned(10)
    returned.take(m.Emitted("c", "x" * 10))
    returned.begin_again()
    assert returned.take(m.Emitted("c", "x" * 10)) is not None
