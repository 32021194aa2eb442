"""Decoder: turns ids into text, one id at a time, to show a sample while it is drawn."""

import codecs
from collections.abc import Sequence
from typing import Literal, get_args

from charlstm.errors import ArgumentError
from charlstm.text.spelling import byte_named
from charlstm.text.words import space_between
from charlstm.untrusted import require_choice, whole_number

# Treatments of bytes that are not valid UTF-8: "replace" turns them into U+FFFD; "surrogateescape"
# turns them into "\udc80" to "\udcff", which are encoded as the same bytes again (PEP 383).
DecodingErrors = Literal["replace", "surrogateescape"]
DECODING_ERRORS: tuple[str, ...] = get_args(DecodingErrors)


class Decoder:
    """Turns ids into text one at a time, and never returns an incomplete character.

    errors: one of DECODING_ERRORS, for bytes that are not valid UTF-8.
    """

    def __init__(
        self, level: str, symbols: Sequence[str], errors: DecodingErrors = "replace"
    ) -> None:
        require_decoding_errors(errors)
        self._level, self._symbols = level, symbols
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)
        self._is_inside = False  # whether the last symbol was a byte, perhaps within a character
        self._previous_word = ""

    def feed(self, id: int) -> str:
        """Return the text that `id` completes; "" for a byte that does not end a character.

        Bytes of an incomplete character before another symbol become text as `errors` says.
        """
        number, size = whole_number("id", id), len(self._symbols)
        if not 0 <= number < size:
            raise ArgumentError(f"`id` must be 0 to {size - 1}, not {number}")
        symbol = self._symbols[number]
        if self._level == "word":
            space, self._previous_word = space_between(self._previous_word, symbol), symbol
            return space + symbol
        if (byte := byte_named(symbol)) is not None:
            self._is_inside = True
            return self._utf8.decode(bytes([byte]))
        return self.finish() + symbol if self._is_inside else symbol

    def feed_all(self, ids: Sequence[int]) -> str:
        """Return the text that several ids complete, as `feed` would for each in turn."""
        if self._level == "char" and byte_named(self._symbols[-1]) is None:
            return "".join([self._symbols[id_] for id_ in ids])  # several times as fast as `feed`
        return "".join(map(self.feed, ids))

    def finish(self) -> str:
        """Return the text for an incomplete character at the end; "" if there is none."""
        self._is_inside = False
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text


def errors_at(level: str) -> DecodingErrors:
    """Return the treatment that keeps every byte at level "byte", and makes valid text at others.

    At level "char", only bits of spelled characters are not valid UTF-8.
    """
    return "surrogateescape" if level == "byte" else "replace"


def require_decoding_errors(errors: str) -> None:
    """Raise CharlstmError if `errors` is not one of DECODING_ERRORS."""
    require_choice("errors", errors, DECODING_ERRORS)
