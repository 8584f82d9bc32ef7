"""Tokens to text: exactly what SGLang's client gets, as early as it is certain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgl_conveyor.dispatcher.text import TextOptions, TextStream
from sgl_conveyor.messages import Finish
from tests.support import cut, cut_points, quick

REPLACEMENT = "\ufffd"
EOS = "<|im_end|>"
LENGTH = Finish("length")

# The tokenizer has no tokens for some control characters, nor for the planes beyond the third.
characters = st.characters(codec="utf-8", exclude_categories=["Cc"], max_codepoint=0x3FFFF)
pieces = st.sampled_from([
    *"ab \n`\"é你界한ñ", "```", "```python\n", "print(", "12.5", "    ", "🎉",
    "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈",
    "e\u0301", "a\u0308\u0323", "\u200d", "\ufe0f", "नि", "𝒳", "\x00", "𓀀",
]) | st.text(characters, max_size=3)  # fmt: skip
texts = st.lists(pieces, max_size=10).map("".join)
clean_texts = texts.filter(lambda text: REPLACEMENT not in text)


@st.composite
def texts_with_stops(draw):
    """A text, and stop strings that are often in it, or begin in it."""
    text = draw(clean_texts)
    stops = draw(st.lists(st.sampled_from(["```", "\n\n", "ab", "aab", "🎉🎉", "e\u0301"])))
    for _ in range(draw(st.integers(0, 2))):
        start = draw(st.integers(0, len(text)))
        stops.append(
            text[start : start + draw(st.integers(1, 5))] + draw(st.sampled_from(["", "x"]))
        )
    return text, [stop for stop in stops if stop]


def encode(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def stream(tokenizer, *, prompt=(), **options):
    return TextStream(tokenizer, list(prompt), TextOptions(**options))


def feed_all(text_stream, records, finish):
    """The pieces that the records of one request give; the last one carries the finish."""
    *first, last = records
    return [*(text_stream.feed(tokens, None) for tokens in first), text_stream.feed(last, finish)]


def run_sglang(tokenizer, tokens, stops):
    """The tokens that SGLang commits until a stop string is there, and how it says so."""
    for count in range(1, len(tokens) + 1):
        text = tokenizer.decode(tokens[:count])
        for stop in stops:
            if stop in text:
                return tokens[:count], Finish("stop", stop)
    return tokens, LENGTH


# --- without stop strings --------------------------------------------------------------------


@quick
@given(texts, cut_points)
def test_the_text_is_exact_however_the_tokens_are_grouped(tokenizer, text, points):
    records = cut(encode(tokenizer, text), points)
    assert "".join(feed_all(stream(tokenizer), records, LENGTH)) == text


@quick
@given(clean_texts)
def test_no_piece_holds_half_a_character(tokenizer, text):
    records = [[token] for token in encode(tokenizer, text)] or [[]]
    assert not any(REPLACEMENT in p for p in feed_all(stream(tokenizer), records, LENGTH))


@quick
@given(st.lists(st.integers(0, 49_151), max_size=20), cut_points)
def test_tokens_that_nobody_would_write_give_the_tokenizers_text(tokenizer, tokens, points):
    given_out = "".join(feed_all(stream(tokenizer), cut(tokens, points), LENGTH))
    assert given_out == tokenizer.decode(tokens)


def test_text_is_given_out_with_its_token(tokenizer):
    text_stream = stream(tokenizer)
    tokens = encode(tokenizer, "def f(x):\n    return x")
    given_out = [text_stream.feed([token], None) for token in tokens]
    assert given_out == [tokenizer.decode([token]) for token in tokens]


def test_a_character_of_several_tokens_comes_with_its_last_one(tokenizer):
    tokens = encode(tokenizer, "𓀀")
    assert len(tokens) > 1
    given_out = feed_all(stream(tokenizer), [[token] for token in tokens], LENGTH)
    assert given_out == [""] * (len(tokens) - 1) + ["𓀀"]


def test_a_character_that_stays_incomplete_becomes_a_replacement(tokenizer):
    tokens = encode(tokenizer, "ok 𓀀")[:-1]
    given_out = feed_all(stream(tokenizer), [[token] for token in tokens], LENGTH)
    assert "".join(given_out) == tokenizer.decode(tokens)
    assert given_out[-1].endswith(REPLACEMENT)
    assert not any(REPLACEMENT in piece for piece in given_out[:-1])


@quick
@given(clean_texts, texts, cut_points)
def test_the_prompt_is_no_part_of_the_text(tokenizer, prompt, text, points):
    tail = encode(tokenizer, prompt)[-5:]
    records = cut(encode(tokenizer, text), points)
    given_out = "".join(feed_all(stream(tokenizer, prompt=tail), records, LENGTH))
    assert given_out == text


def test_a_prompt_that_ends_with_a_replacement_is_no_part_of_the_text(tokenizer):
    tail = encode(tokenizer, "Hello " + REPLACEMENT)[-5:]
    records = [encode(tokenizer, "abc"), encode(tokenizer, " def")]
    given_out = feed_all(stream(tokenizer, prompt=tail), records, LENGTH)
    assert given_out == ["abc", " def"]


# --- special tokens --------------------------------------------------------------------------


def test_the_stop_token_is_no_part_of_the_text(tokenizer):
    eos = tokenizer.token_to_id(EOS)
    tokens = [*encode(tokenizer, "abc"), eos]
    text_stream = stream(tokenizer, skip_special_tokens=False)
    assert text_stream.feed(tokens, Finish("stop", eos)) == "abc"


def test_a_stop_token_that_is_plain_text_is_dropped_too(tokenizer):
    tokens = encode(tokenizer, "abc def")
    assert stream(tokenizer).feed(tokens, Finish("stop", tokens[-1])) == "abc"


def test_a_kept_stop_token_is_shown_if_special_tokens_are(tokenizer):
    eos = tokenizer.token_to_id(EOS)
    tokens = [*encode(tokenizer, "abc"), eos]
    shown = stream(tokenizer, keep_stop=True, skip_special_tokens=False)
    hidden = stream(tokenizer, keep_stop=True, skip_special_tokens=True)
    assert shown.feed(tokens, Finish("stop", eos)) == "abc" + EOS
    assert hidden.feed(tokens, Finish("stop", eos)) == "abc"


def test_special_tokens_in_the_middle_are_left_out(tokenizer):
    eos = tokenizer.token_to_id(EOS)
    records = [encode(tokenizer, "a"), [eos], encode(tokenizer, "b")]
    assert feed_all(stream(tokenizer), records, LENGTH) == ["a", "", "b"]


# --- stop strings ----------------------------------------------------------------------------


@quick
@given(texts_with_stops(), cut_points, st.booleans())
def test_the_text_ends_where_sglang_cuts_it(tokenizer, text_and_stops, points, keep):
    text, stops = text_and_stops
    tokens, finish = run_sglang(tokenizer, encode(tokenizer, text), stops)
    whole = tokenizer.decode(tokens)
    if finish.matched is not None:
        end = whole.find(finish.matched) + (len(finish.matched) if keep else 0)
        whole = whole[:end]
    text_stream = stream(tokenizer, stop=stops, keep_stop=keep)
    assert "".join(feed_all(text_stream, cut(tokens, points), finish)) == whole


@quick
@given(texts_with_stops())
def test_what_could_begin_a_stop_is_held_back_and_nothing_else(tokenizer, text_and_stops):
    text, stops = text_and_stops
    tokens, _ = run_sglang(tokenizer, encode(tokenizer, text), stops)
    held, free = stream(tokenizer, stop=stops), stream(tokenizer)
    given_out, known = "", ""
    for token in tokens:
        given_out += held.feed([token], None)
        known += free.feed([token], None)
        risky = (
            at
            for at in range(len(known))
            if any(known[at:].startswith(stop) or stop.startswith(known[at:]) for stop in stops)
        )
        assert given_out == known[: next(risky, len(known))]


def test_the_beginning_of_a_stop_is_given_out_when_it_goes_on_otherwise(tokenizer):
    text_stream = stream(tokenizer, stop=["```"])
    backtick = encode(tokenizer, "`")
    assert text_stream.feed(encode(tokenizer, "x = "), None) == "x = "
    assert text_stream.feed(backtick, None) == ""
    assert text_stream.feed(encode(tokenizer, "y"), None) == "`y"


def test_the_beginning_of_a_stop_is_given_out_at_the_end(tokenizer):
    text_stream = stream(tokenizer, stop=["```"])
    assert text_stream.feed(encode(tokenizer, "x`"), None) == "x"
    assert text_stream.feed([], LENGTH) == "`"


@pytest.mark.parametrize(("keep", "shown"), [(False, "x = 1\n"), (True, "x = 1\n```")])
def test_a_matched_stop_and_what_follows_it_are_cut(tokenizer, keep, shown):
    text_stream = stream(tokenizer, stop=["```"], keep_stop=keep)
    tokens = encode(tokenizer, "x = 1\n``` and more")
    assert text_stream.feed(tokens, Finish("stop", "```")) == shown


def test_a_longer_stop_does_not_hide_a_shorter_one(tokenizer):
    text_stream = stream(tokenizer, stop=["ab", "b\n\n\n"])
    assert text_stream.feed(encode(tokenizer, "xab"), None) == "x"
    assert text_stream.feed([], Finish("stop", "ab")) == ""
