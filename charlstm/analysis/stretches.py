"""Stretches: the longest runs of symbols that texts have in common with the training text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from charlstm.analysis.suffix_automaton import MatchFinder, SuffixAutomaton
from charlstm.arrays import Ids
from charlstm.untrusted import require_type

# The texts are cut into sections. Each pass over the training text finds the stretches of one
# section with a suffix automaton of the section. Sections are so short that the transition table of
# the automaton has at most MAX_TABLE_ENTRIES entries, but have at least MIN_SECTION_LENGTH symbols.
# Only the last section may be shorter.
MAX_TABLE_ENTRIES = 1 << 23
MIN_SECTION_LENGTH = 2_000
# A stretch may begin in one section and go on in the next section. To find the complete stretch, a
# pass also reads the end of the previous section, up to MAX_OVERLAP symbols. A stretch with more
# symbols in the previous section may be found as two stretches.
MAX_OVERLAP = 10_000


@dataclass(frozen=True)
class Stretch:
    """Consecutive symbols that stand both in a text and in the training text.

    number: the number of the text, from 0. start: the position in the text.
    place: the position of one occurrence in the training text.
    text: the symbols as text, if the vocabulary was given.
    """

    number: int
    start: int
    length: int
    place: int
    text: str = ""

    def overlaps(self, other: "Stretch") -> bool:
        """Return whether the stretches have symbols of one text in common."""
        require_type("other", other, Stretch)
        return (
            self.number == other.number
            and self.start < other.start + other.length
            and other.start < self.start + self.length
        )


@dataclass(frozen=True)
class Matches:
    """The stretches of one text of N symbols that stand in the training text.

    lengths: (N,) the length of the longest stretch that ends with each symbol; 0 for no stretch.
    places: (N,) the position of one occurrence of each of these stretches in the training text.
    """

    lengths: Ids
    places: Ids

    @property
    def longest(self) -> int:
        """The length of the longest stretch."""
        return int(self.lengths.max(initial=0))

    @property
    def ends(self) -> Ids:
        """The positions of the last symbols of the maximal stretches.

        A maximal stretch can be extended in neither direction. Maximal stretches may overlap, but
        none contains another.
        """
        continues = np.append(self.lengths[1:], 0) == self.lengths + 1
        maximal: Ids = np.flatnonzero(~continues & (self.lengths > 0))
        return maximal

    def stretch(self, end: int, number: int = 0) -> Stretch:
        """Return the longest stretch that ends at position `end` of text number `number`."""
        length = int(self.lengths[end])
        return Stretch(number, end + 1 - length, length, int(self.places[end]))

    def covered(self, min_length: int) -> int:
        """Return the number of symbols in stretches of this length or more."""
        ends = self.ends[self.lengths[self.ends] >= min_length]
        borders = np.zeros(len(self.lengths) + 1, np.int64)
        np.add.at(borders, ends + 1 - self.lengths[ends], 1)
        np.add.at(borders, ends + 1, -1)
        return int(np.count_nonzero(borders.cumsum()))

    def without_ends(self) -> "Matches":
        """Return the matches of the text without its first and its last symbol."""
        lengths = np.minimum(self.lengths[1:-1], np.arange(1, len(self.lengths) - 1))
        return Matches(lengths, self.places[1:-1] + self.lengths[1:-1] - lengths)


def find_matches(
    texts: Sequence[Ids], training: Ids, progress: Callable[[int, int], None] | None = None
) -> list[Matches]:
    """Return the matches of each text with the training text.

    texts: each (N,) ids. training: (M,) ids of the same vocabulary; may be memory-mapped.
    progress: called as progress(symbols read, symbols to read) while the training text is read.

    The matches are exact, with one exception: if the texts are so long that they take several
    passes over the training text, a stretch of more than MAX_OVERLAP symbols may be found as two
    stretches.
    """
    if not texts:
        return []
    # An id of -1, which the training text does not have, ends each text, so that no stretch goes on
    # into the next text.
    joined = np.concatenate([np.append(np.asarray(text).astype(np.int64), -1) for text in texts])
    lengths, places = np.empty((2, len(joined)), np.int64)
    alphabet = len(np.unique(joined))
    step = max(MIN_SECTION_LENGTH, MAX_TABLE_ENTRIES // (2 * (alphabet + 1)))
    passes = -(-len(joined) // step)
    for number, start in enumerate(range(0, len(joined), step)):
        # The pass begins `overlap` symbols earlier, to find a stretch that began before its start.
        overlap = min(int(lengths[start - 1]), MAX_OVERLAP) if start else 0

        def advance_to(symbols: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(training) + symbols, passes * len(training))

        found = _match(joined[start - overlap : start + step], training, advance_to)
        lengths[start : start + step], places[start : start + step] = (a[overlap:] for a in found)
    borders = np.cumsum([len(text) + 1 for text in texts])[:-1]
    pairs = zip(np.split(lengths, borders), np.split(places, borders), strict=True)
    return [Matches(length[:-1], place[:-1]) for length, place in pairs]


def _match(text: Ids, training: Ids, advance_to: Callable[[int], None]) -> tuple[Ids, Ids]:
    """Return the length and the place of the longest match that ends with each symbol, both (N,).

    text: (N,) ids with -1 between texts. The place of a match is the position of its first symbol
        in the training text. The suffix automaton of the text numbers its distinct ids from 0.
    """
    alphabet, symbols = np.unique(text, return_inverse=True)
    unknown = len(alphabet)
    size = 1 + max(int(training.max(initial=0)), int(alphabet[-1]))
    symbol_of = np.full(size, unknown, np.min_scalar_type(unknown))
    is_id = alphabet >= 0
    symbol_of[alphabet[is_id]] = np.flatnonzero(is_id)
    finder = MatchFinder(SuffixAutomaton(symbols.tolist()), unknown + 1)
    longest_text = int(np.diff(np.flatnonzero(text < 0), prepend=-1, append=len(text)).max())
    finder.read(training, symbol_of, longest_text, advance_to)
    lengths, ends = finder.matches()
    return lengths, ends + 1 - lengths
