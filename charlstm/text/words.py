"""Text to words and back: words, marks and line ends, without the spaces between them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

UNKNOWN_WORD = "\ufffd"  # stands for every word outside the vocabulary
LINE_END = "\n"

# A word may have apostrophes and hyphens inside, and one apostrophe before it ('tis).
_TOKEN = re.compile(r"\n|['’]?[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")
_LONGEST_CARRY = 1 << 20  # characters without a space that may be one word
_CLOSING = set(",.;:!?)]}%…”’'") | {LINE_END}
_OPENING = set("([{“‘") | {LINE_END}


def split_words(text: str) -> list[str]:
    """The words, marks and line ends of a text, in order."""
    return _TOKEN.findall(text)


def split_pieces(pieces: Iterable[str]) -> Iterator[list[str]]:
    """The words of a text that comes in pieces, which may end within a word."""
    carry = ""
    for piece in pieces:
        text = carry + piece
        # no word reaches over white space, so all up to the last of it is complete
        complete = max(text.rfind(space) for space in " \n\t") + 1
        if not complete and len(text) > _LONGEST_CARRY:
            complete = len(text)
        yield split_words(text[:complete])
        carry = text[complete:]
    yield split_words(carry)


def space_between(previous: str, word: str) -> str:
    """What stands between two words when they are written out: a space or nothing."""
    return "" if not previous or previous in _OPENING or word in _CLOSING else " "


class WordCounts:
    """How often each word of a text occurs, in bounded memory.

    Where there are too many distinct words, the rarest so far are forgotten, as word2vec does
    (Mikolov et al. 2013): then the counts of rare words are too low, and some are not there.

    bytes: the size in UTF-8 of all words, once it is finished.
    """

    def __init__(self, most: int = 2_000_000, most_characters: int = 1 << 26) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.forgotten = 0  # words that occurred at most so often
        self._most, self._most_characters = most, most_characters
        self._characters = 0  # of the distinct words, at most

    def add(self, words: list[str]) -> None:
        """Count the words of a piece of the text."""
        self.counts.update(words)
        self._characters += sum(map(len, words))
        if self._characters > self._most_characters:
            self._characters = sum(map(len, self.counts))
            while self._characters > self._most_characters // 2:
                self._forget()
        while len(self.counts) > self._most:
            self._forget()

    def _forget(self) -> None:
        self.forgotten += 1
        rare = [word for word, count in self.counts.items() if count <= self.forgotten]
        self.bytes += self._size(rare)
        for word in rare:
            del self.counts[word]
        self._characters = sum(map(len, self.counts))

    def finish(self) -> None:
        """Complete `bytes`."""
        self.bytes += self._size(self.counts)

    def _size(self, words: Iterable[str]) -> int:
        return sum(len(w.encode("utf-8", "surrogatepass")) * self.counts[w] for w in words)

    def most_frequent(self, number: int | None) -> list[str]:
        """The most frequent words, all by default; the first in order of equally frequent ones."""
        by_frequency = sorted(self.counts, key=lambda word: (-self.counts[word], word))
        return by_frequency[:number]
