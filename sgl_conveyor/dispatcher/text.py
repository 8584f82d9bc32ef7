"""Token ids → the text that SGLang's client gets, as early as it is certain."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from sgl_conveyor.messages import Finish

#: What a tokenizer shows for bytes that are no complete character.
_INCOMPLETE = "\ufffd"


@dataclass(frozen=True)
class TextOptions:
    """How SGLang shows a request's text.

    Args:
        stop: stop strings.
        keep_stop: whether a matched stop stays in the text (`no_stop_trim`).
        skip_special_tokens: whether special tokens are left out.
    """

    stop: list[str] = field(default_factory=list)
    keep_stop: bool = False
    skip_special_tokens: bool = True


class TextStream:
    """The text of one request, from its tokens.

    What could be the beginning of a stop string is held back until it is certain, and so is half
    a character.

    Args:
        tokenizer: the served model's.
        prompt_tail: the prompt's last token ids: some models mark leading spaces only in context.
        options: how SGLang shows the text.
    """

    def __init__(self, tokenizer: Tokenizer, prompt_tail: list[int], options: TextOptions) -> None:
        # A prompt that ends in half a character is no context: the stream would give it out again.
        if tokenizer.decode(prompt_tail, skip_special_tokens=False).endswith(_INCOMPLETE):
            prompt_tail = []
        self._tokenizer = tokenizer
        self._options = options
        self._stream = DecodeStream(
            ids=list(prompt_tail), skip_special_tokens=options.skip_special_tokens
        )
        # Tokens since the stream last gave text: what its held tail is decoded from at the end.
        self._last: list[int] = list(prompt_tail)
        self._undecoded: list[int] = []
        self._held = ""

    def feed(self, tokens: list[int], finish: Finish | None) -> str:
        """The text that becomes certain with these tokens.

        Args:
            tokens: token ids, the finishing one included.
            finish: how the request ended, with its last tokens.
        """
        if finish is not None and isinstance(finish.matched, int) and not self._options.keep_stop:
            tokens = tokens[:-1]
        pieces = []
        for token in tokens:
            piece = self._stream.step(self._tokenizer, token)
            self._undecoded.append(token)
            if piece is not None:
                pieces.append(piece)
                self._last, self._undecoded = self._undecoded, []
        self._held += "".join(pieces)
        if finish is not None:
            return self._close(finish)
        certain = len(self._held) - self._possible_stop()
        text, self._held = self._held[:certain], self._held[certain:]
        return text

    def _close(self, finish: Finish) -> str:
        text = self._held + self._tail()
        self._held = ""
        if not isinstance(finish.matched, str):
            return text
        at = text.find(finish.matched)
        if at < 0:
            return text
        return text[: at + len(finish.matched)] if self._options.keep_stop else text[:at]

    def _tail(self) -> str:
        """The text of tokens that the stream still holds, incomplete characters as U+FFFD."""
        if not self._undecoded:
            return ""
        skip = self._options.skip_special_tokens
        context = self._tokenizer.decode(self._last, skip_special_tokens=skip)
        whole = self._tokenizer.decode(self._last + self._undecoded, skip_special_tokens=skip)
        return whole[len(context) :] if whole.startswith(context) else _INCOMPLETE

    def _possible_stop(self) -> int:
        """How many of the last held characters could be a stop string, or its beginning."""
        longest = 0
        for stop in self._options.stop:
            found = self._held.find(stop)
            if found >= 0:
                # SGLang ends the request at this token: what follows is never shown.
                longest = max(longest, len(self._held) - found)
                continue
            for size in range(min(len(stop) - 1, len(self._held)), longest, -1):
                if self._held.endswith(stop[:size]):
                    longest = size
                    break
        return longest
