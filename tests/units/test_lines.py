"""Lines: split at newlines, whatever the pieces in which the text arrives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.units.lines import LineSplitter
from tests.support import cut, cut_points, quick

texts = st.text(st.sampled_from("ab é你🎉\n\r\t\x0b\x0c\x85\u2028"), max_size=40)


def lines_of(pieces):
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.close()


@quick
@given(texts, cut_points)
def test_where_the_text_is_cut_never_changes_the_lines(text, points):
    assert lines_of(cut(text, points)) == lines_of([text])


@quick
@given(texts.filter(lambda text: "\r" not in text))
def test_the_lines_are_what_stands_between_the_newlines(text):
    lines = text.split("\n")
    assert lines_of([text]) == (lines if lines[-1] else lines[:-1])


def test_a_line_is_certain_at_its_newline_and_not_before():
    splitter = LineSplitter()
    assert splitter.feed("one") == []
    assert splitter.feed("\ntw") == ["one"]
    assert splitter.feed("o\nthree\nfo") == ["two", "three"]
    assert splitter.close() == ["fo"]


def test_the_ending_is_no_part_of_the_line():
    assert lines_of(["one\r\ntwo\n"]) == ["one", "two"]


def test_an_ending_of_two_characters_may_come_in_two_pieces():
    assert lines_of(["one\r", "\ntwo"]) == ["one", "two"]


def test_empty_lines_are_lines():
    assert lines_of(["\n\none\n\n"]) == ["", "", "one", ""]


@pytest.mark.parametrize("character", ["\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_a_newline_ends_a_line(character):
    line = f"one{character}two"
    assert lines_of([line + "\n"]) == [line]


def test_a_text_that_ends_with_a_newline_leaves_nothing_for_the_end():
    assert LineSplitter().close() == []
    splitter = LineSplitter()
    splitter.feed("one\n")
    assert splitter.close() == []


def test_close_gives_the_last_line_once():
    splitter = LineSplitter()
    splitter.feed("last")
    assert (splitter.close(), splitter.close()) == (["last"], [])
