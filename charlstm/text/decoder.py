"""Decoder: ids to text, one id at a time, as a sample is shown while it grows."""

import codecs
from collections.abc import Sequence

from charlstm.text.words import space_between


class Decoder:
    """Turns ids into text one at a time, and never returns an incomplete character."""

    def __init__(self, level: str, symbols: Sequence[str]) -> None:
        self._level, self._symbols = level, symbols
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._previous_word = ""

    def feed(self, id: int) -> str:
        """Return the text that `id` completes: "" for a byte within a multi-byte character."""
        if self._level == "byte":
            return self._utf8.decode(bytes([id]))
        symbol = self._symbols[id]
        if self._level == "char":
            return symbol
        space, self._previous_word = space_between(self._previous_word, symbol), symbol
        return space + symbol

    def finish(self) -> str:
        """Return U+FFFD if the last character is incomplete, else ""."""
        return self._utf8.decode(b"", final=True)
