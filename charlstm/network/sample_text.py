"""SampleText: the text of a sample while it is drawn, and the rules by which it ends."""

import re
from collections.abc import Sequence

from charlstm.text.decoder import DecodingErrors
from charlstm.text.vocab import Vocab

# Maximum number of symbols by which a sample exceeds its length to end with a sentence or line.
MAX_OVERRUN = 500
# Quotation marks and brackets that belong to the sentence before them.
_CLOSING = "\"'”’»)\\]」』）"
# The end of a sentence is a mark that white space follows (in "3.5" there is none), a Chinese or
# Japanese mark, or an empty line, as after a heading.
SENTENCE_END = re.compile(
    rf"[.!?…][{_CLOSING}]*(?=\s)|[。！？][{_CLOSING}]*(?=[^{_CLOSING}])|(?=\r?\n[ \t\r]*\n)"
)
LINE_END = re.compile(r"(?=\n)")
_CONTEXT = 8  # number of last characters before `length` that may belong to the end of a sentence


class SampleText:
    """A sample that grows by one symbol at a time until it ends.

    A sample ends before the first stop string, or else after `length` symbols. Text that may be the
    beginning of a stop string is held back.

    length: the number of symbols; 0 for no end.
    ends: patterns of the places, after `length` symbols or more, where a sample may end. The sample
        ends at the first match of the first pattern that has a match in the next MAX_OVERRUN
        symbols. If no pattern has a match, the sample ends after `length` symbols. Text beyond
        `length` is held back until the sample ends.
    """

    def __init__(
        self,
        vocab: Vocab,
        stops: Sequence[str],
        errors: DecodingErrors,
        length: int = 0,
        ends: Sequence[re.Pattern[str]] = (),
    ) -> None:
        self._decoder, self._may_spell = vocab.decoder(errors), vocab.level == "char"
        self._stops, self._length, self._ends = stops, length, ends
        self._symbols = 0
        self._held = ""
        self._shown = ""  # the last characters that were returned
        # the place in the held text that the first `length` symbols reach, once they are drawn
        self._place_after_length = 0
        self.ended = False

    def add(self, id_: int) -> str:
        """Add a symbol; return the text that now certainly belongs to the sample."""
        if self.ended:
            return ""
        text = self._decoder.feed(id_)
        # A character that is spelled as several bytes counts once, when it is whole.
        self._symbols += bool(text) if self._may_spell else 1
        self._held += text
        held = 0
        if self._stops:
            found = [place for stop in self._stops if (place := self._held.find(stop)) >= 0]
            if found:
                return self._end(min(found))
            held = max(_overlap(self._held, stop) for stop in self._stops)
        if self._length and self._symbols >= self._length:
            return self._add_at_end()
        new, self._held = self._split(len(self._held) - held)
        self._shown = (self._shown + new)[-_CONTEXT:]
        return new

    def finish(self) -> str:
        """End the sample after the symbols so far; return the text that was held back."""
        self._held += self._decoder.finish()
        return self._end(len(self._held))

    def _add_at_end(self) -> str:
        """End the sample if it can end here; return the text that then belongs to it."""
        if not self._ends:
            return self.finish()
        if self._symbols == self._length:
            self._place_after_length = len(self._held)
        if self._symbols < self._length + MAX_OVERRUN:
            place = self._first_place(self._ends[0])
            return "" if place is None else self._end(place)
        places = (self._first_place(pattern) for pattern in self._ends)
        return self._end(next((p for p in places if p is not None), self._place_after_length))

    def _first_place(self, pattern: re.Pattern[str]) -> int | None:
        """Return the first place in the held text where a match of the pattern ends, or None.

        Places among the first `length` symbols of the sample do not count.
        """
        before = len(self._shown)
        places = (found.end() - before for found in pattern.finditer(self._shown + self._held))
        return next((place for place in places if place >= self._place_after_length), None)

    def _end(self, place: int) -> str:
        """End the sample at a place in the held text; return the text before this place."""
        self.ended = True
        return self._split(place)[0]

    def _split(self, place: int) -> tuple[str, str]:
        return self._held[:place], self._held[place:]


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest suffix of `text` that is a proper prefix of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((n for n in sizes if text.endswith(stop[:n])), 0)
