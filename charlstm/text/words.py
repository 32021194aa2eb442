"""Words: splitting a text into words, punctuation marks and line ends; joining and counting them.

Splitting drops all spaces. Joining puts spaces between words by the rule of `space_between`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

UNKNOWN_WORD = "\ufffd"  # stands for every word that is not in the vocabulary
LINE_END = "\n"

# A word may have apostrophes and hyphens inside, and one apostrophe before it ('tis).
_TOKEN = re.compile(r"\n|['’]?[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]|_")
_LONGEST_WORD = 1 << 20  # characters; a longer text without white space is cut
_NO_SPACE_BEFORE = set(",.;:!?)]}%…”’'") | {LINE_END}
_NO_SPACE_AFTER = set("([{“‘") | {LINE_END}


def split_words(text: str) -> list[str]:
    """Return the words, punctuation marks and line ends of a text, in order."""
    return _TOKEN.findall(text)


def split_chunks(chunks: Iterable[str]) -> Iterator[list[str]]:
    """Yield the words of a text that is given in chunks; a chunk may end within a word."""
    carry = ""
    for chunk in chunks:
        text = carry + chunk
        # No word contains white space: all words before the last white space are complete.
        complete = max(text.rfind(space) for space in " \n\t") + 1
        if not complete and len(text) > _LONGEST_WORD:
            complete = len(text)
        yield split_words(text[:complete])
        carry = text[complete:]
    yield split_words(carry)


def space_between(previous: str, word: str) -> str:
    """Return the space to write between two words: " " or "". `previous` is "" at the start."""
    joined = not previous or previous in _NO_SPACE_AFTER or word in _NO_SPACE_BEFORE
    return "" if joined else " "


class WordCounts:
    """Counts of the words of a text, in bounded memory.

    When there are too many distinct words, the rarest words so far are forgotten, as in word2vec
    (Mikolov et al. 2013). Once words have been forgotten, the counts of rare words are too low,
    and some words are missing.

    max_words: the largest number of distinct words to keep.
    max_characters: the largest total length of the distinct words, in characters.
    bytes: size of all counted words in UTF-8; correct only after `finish` was called.
    forgotten: words with at most this count have been forgotten; 0 if none have been.
    """

    def __init__(self, max_words: int = 2_000_000, max_characters: int = 1 << 26) -> None:
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.forgotten = 0
        self._max_words, self._max_characters = max_words, max_characters
        self._characters = 0  # upper bound of the total length of the distinct words

    def add(self, words: list[str]) -> None:
        """Count some more words of the text."""
        self.counts.update(words)
        self._characters += sum(map(len, words))
        if self._characters > self._max_characters:
            self._characters = sum(map(len, self.counts))
            while self._characters > self._max_characters // 2:
                self._forget()
        while len(self.counts) > self._max_words:
            self._forget()

    def _forget(self) -> None:
        """Raise `forgotten` by 1, and forget the words with at most this count."""
        self.forgotten += 1
        rare = [word for word, count in self.counts.items() if count <= self.forgotten]
        self.bytes += self._size(rare)
        for word in rare:
            del self.counts[word]
        self._characters = sum(map(len, self.counts))

    def finish(self) -> None:
        """Add the size of the remembered words to `bytes`, after all words were counted."""
        self.bytes += self._size(self.counts)

    def _size(self, words: Iterable[str]) -> int:
        return sum(len(w.encode("utf-8", "surrogatepass")) * self.counts[w] for w in words)

    def most_frequent(self, number: int | None) -> list[str]:
        """Return the `number` most frequent words, or all words if it is None.

        Words with the same count are in code-point order.
        """
        by_frequency = sorted(self.counts, key=lambda word: (-self.counts[word], word))
        return by_frequency[:number]
