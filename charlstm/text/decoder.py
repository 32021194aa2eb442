"""Decoder: turns ids into text, one id at a time, to show a sample while it is drawn."""

import codecs
from collections.abc import Sequence
from typing import Literal, get_args

from charlstm.errors import ArgumentError
from charlstm.text.words import space_between
from charlstm.untrusted import require_choice, whole_number

# Treatments of bytes that are not valid UTF-8: "replace" turns them into U+FFFD; "surrogateescape"
# turns them into "\udc80" to "\udcff", which are encoded as the same bytes again (PEP 383).
DecodingErrors = Literal["replace", "surrogateescape"]
DECODING_ERRORS: tuple[str, ...] = get_args(DecodingErrors)


class Decoder:
    """Turns ids into text one at a time, and never returns an incomplete character.

    errors: one of DECODING_ERRORS, for level "byte".
    """

    def __init__(
        self, level: str, symbols: Sequence[str], errors: DecodingErrors = "replace"
    ) -> None:
        require_decoding_errors(errors)
        self._level, self._symbols = level, symbols
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)
        self._previous_word = ""

    def feed(self, id: int) -> str:
        """Return the text that `id` completes; "" for a byte that does not end a character."""
        number, size = whole_number("id", id), len(self._symbols)
        if not 0 <= number < size:
            raise ArgumentError(f"`id` must be 0 to {size - 1}, not {number}")
        if self._level == "byte":
            return self._utf8.decode(bytes([number]))
        symbol = self._symbols[number]
        if self._level == "char":
            return symbol
        space, self._previous_word = space_between(self._previous_word, symbol), symbol
        return space + symbol

    def feed_all(self, ids: Sequence[int]) -> str:
        """Return the text that several ids complete, as `feed` would for each in turn."""
        if self._level == "char":  # several times as fast as `feed`
            return "".join([self._symbols[id_] for id_ in ids])
        return "".join(map(self.feed, ids))

    def finish(self) -> str:
        """Return the text for an incomplete character at the end; "" if there is none."""
        return self._utf8.decode(b"", final=True)


def require_decoding_errors(errors: str) -> None:
    """Raise CharlstmError if `errors` is not one of DECODING_ERRORS."""
    require_choice("errors", errors, DECODING_ERRORS)
