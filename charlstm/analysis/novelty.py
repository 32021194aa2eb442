"""How much of a text is new: what it shares, word for word, with the text that a model has learnt.

Held-out text of the same source shares something with the training text too, and is the measure: a
model that copies shares more.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from charlstm.analysis.suffix_automaton import Reader, SuffixAutomaton
from charlstm.arrays import Ids

AT_LEAST = {"word": (5, 10, 20)}  # symbols of a stretch that is counted, by the unit; others:
AT_LEAST_CHARACTERS = (20, 50, 100)
STRETCHES_SHOWN = 3  # stretches of a report

HELD_OUT_PIECES, HELD_OUT_SYMBOLS = 5, 10_000  # at most so many, together of about so many symbols

AUTOMATON_ENTRIES = (
    1 << 23
)  # entries of an automaton's table, about; texts with more are taken in parts
SHORTEST_PART = 2_000  # symbols
LONGEST_OVERLAP = 10_000  # symbols: a longer stretch may be told as two, where texts have parts

Progress = Callable[[int, int], None]  # symbols read, symbols to read in all


@dataclass(frozen=True)
class Stretch:
    """Consecutive symbols that stand both in a text and in the training text.

    number: which of several texts, from 0. start: where it begins in that text. place: where one
    occurrence of it begins in the training text.
    """

    number: int
    start: int
    length: int
    place: int

    def overlaps(self, other: "Stretch") -> bool:
        return (
            self.number == other.number
            and self.start < other.start + other.length
            and other.start < self.start + self.length
        )


@dataclass(frozen=True)
class Shared:
    """What one text shares with the training text.

    lengths: (N,) of the longest stretch that ends with each symbol and stands in the training text
        too; 0 where the symbol does not.
    places: (N,) where one occurrence of it begins there.
    """

    lengths: Ids
    places: Ids

    @property
    def longest(self) -> int:
        """The length of the longest stretch."""
        return int(self.lengths.max(initial=0))

    @property
    def ends(self) -> Ids:
        """The last symbols of the stretches that cannot be made longer in either direction.

        They may overlap, but none is within another.
        """
        goes_on = np.append(self.lengths[1:], 0) == self.lengths + 1
        maximal: Ids = np.flatnonzero(~goes_on & (self.lengths > 0))
        return maximal

    def stretch(self, end: int, number: int = 0) -> Stretch:
        """The stretch that ends with a symbol."""
        length = int(self.lengths[end])
        return Stretch(number, end + 1 - length, length, int(self.places[end]))

    def covered(self, at_least: int) -> int:
        """How many of the symbols are within a stretch of at least so many."""
        ends = self.ends[self.lengths[self.ends] >= at_least]
        borders = np.zeros(len(self.lengths) + 1, np.int64)
        np.add.at(borders, ends + 1 - self.lengths[ends], 1)
        np.add.at(borders, ends + 1, -1)
        return int(np.count_nonzero(borders.cumsum()))

    def inside(self) -> "Shared":
        """What the text shares when its first and its last symbol are left out."""
        lengths = np.minimum(self.lengths[1:-1], np.arange(1, len(self.lengths) - 1))
        return Shared(lengths, self.places[1:-1] + self.lengths[1:-1] - lengths)


def shared(texts: Sequence[Ids], training: Ids, progress: Progress | None = None) -> list[Shared]:
    """What each of the texts shares with the training text, found in one pass over that.

    texts: each (N,) ids. training: (M,) ids of the same vocabulary; may be mapped from disk.
    progress: called as progress(read, total) as the training text is read.

    Exact, but that a stretch of more than LONGEST_OVERLAP symbols may be told as two where texts
    are so long that they are taken in parts, with a pass for each.
    """
    if not texts:
        return []
    # -1 after each text: no stretch goes over it, as the training text does not have it
    joined = np.concatenate([np.append(text, -1) for text in map(_wide, texts)])
    lengths, places = np.empty((2, len(joined)), np.int64)
    part = max(SHORTEST_PART, AUTOMATON_ENTRIES // (2 * (len(np.unique(joined)) + 1)))
    passes = -(-len(joined) // part)
    for number, done in enumerate(range(0, len(joined), part)):
        # what reaches from the last part into this one begins here at the earliest
        overlap = min(int(lengths[done - 1]), LONGEST_OVERLAP) if done else 0

        def advance(symbols: int, number: int = number) -> None:
            if progress is not None:
                progress(number * len(training) + symbols, passes * len(training))

        found = _matches(joined[done - overlap : done + part], training, advance)
        lengths[done : done + part], places[done : done + part] = (a[overlap:] for a in found)
    borders = np.cumsum([len(text) + 1 for text in texts])[:-1]
    pairs = zip(np.split(lengths, borders), np.split(places, borders), strict=True)
    return [Shared(length[:-1], place[:-1]) for length, place in pairs]


def _wide(ids: Ids) -> Ids:
    return np.asarray(ids).astype(np.int64)


def _matches(text: Ids, training: Ids, progress: Callable[[int], None]) -> tuple[Ids, Ids]:
    """The length of the longest match that ends with each symbol, and where it begins."""
    alphabet, symbols = np.unique(text, return_inverse=True)
    unknown = len(alphabet)
    size = 1 + max(int(training.max(initial=0)), int(alphabet[-1]))
    symbol_of = np.full(size, unknown, np.min_scalar_type(unknown))
    known = alphabet >= 0
    symbol_of[alphabet[known]] = np.flatnonzero(known)
    reader = Reader(SuffixAutomaton(symbols.tolist()), unknown + 1)
    longest_text = int(np.diff(np.flatnonzero(text < 0), prepend=-1, append=len(text)).max())
    reader.read(training, symbol_of, longest_text, progress)
    lengths, ends = reader.matches()
    return lengths, ends + 1 - lengths


@dataclass(frozen=True)
class Figures:
    """What texts share with the training text, in figures.

    longest: symbols of the longest stretch.
    shares: the part of all symbols that is within stretches of at least so many, by that number.
    lines, known_lines: of a model of lines, how many whole lines there are, and how many of them
        stand in the training text as they are.
    """

    symbols: int
    longest: int
    shares: dict[int, float]
    lines: int | None = None
    known_lines: int | None = None


@dataclass(frozen=True)
class Novelty:
    """The report: figures of `count` texts, of held-out text beside them, the longest stretches.

    held_out: of some pieces of held-out text, each as long as the texts together: the median of
        the pieces' longest stretches, and the shares of all of them; None without such text.
    longest_of_pieces: the length of the longest stretch of each piece, rising.
    stretches: the longest ones of the texts that do not overlap, the longest first.
    """

    texts: Figures
    count: int
    held_out: Figures | None
    longest_of_pieces: list[int]
    stretches: list[Stretch]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict."""
        held_out = None
        if self.held_out is not None:
            held_out = _figures_to_dict(self.held_out)
            held_out["longest_of_pieces"] = self.longest_of_pieces
        stretches = [asdict(stretch) for stretch in self.stretches]
        return {**_figures_to_dict(self.texts), "stretches": stretches, "held_out": held_out}


def measure_novelty(
    texts: Sequence[Ids],
    training: Ids,
    held_out: Ids,
    *,
    unit: str = "character",
    line_end: int | None = None,
    progress: Progress | None = None,
) -> Novelty:
    """Compare texts with the training text, and pieces of held-out text of the same size beside.

    texts: each (N,) ids. training, held_out: ids of the same vocabulary; held_out may be empty.
    unit: what a symbol is, as the vocabulary says. line_end: its id, for texts that are lines.
    progress: see shared.
    """
    pieces = _pieces(held_out, sum(map(len, texts)))
    if line_end is None:
        found = shared([*texts, *pieces], training, progress)
        known = None
    else:
        pieces = [_whole_lines(piece, line_end) for piece in pieces]
        framed = [np.concatenate(([line_end], t, [line_end])) for t in [*texts, *pieces]]
        whole = shared(framed, training, progress)
        known = [_known_lines(t, s, training, line_end) for t, s in zip(framed, whole, strict=True)]
        found = [s.inside() for s in whole]
    at_least = AT_LEAST.get(unit, AT_LEAST_CHARACTERS)

    def figures(part: slice, longest: Callable[[list[int]], int]) -> Figures:
        symbols = sum(len(s.lengths) for s in found[part])
        shares = {n: sum(s.covered(n) for s in found[part]) / max(1, symbols) for n in at_least}
        lines = None if known is None else np.concatenate(known[part])
        return Figures(
            symbols=symbols,
            longest=longest([s.longest for s in found[part]]),
            shares=shares,
            lines=None if lines is None else len(lines),
            known_lines=None if lines is None else int(lines.sum()),
        )

    own = slice(len(texts))
    return Novelty(
        texts=figures(own, max),
        count=len(texts),
        held_out=figures(slice(len(texts), None), _median) if pieces else None,
        longest_of_pieces=sorted(s.longest for s in found[len(texts) :]),
        stretches=_longest_apart(found[own]),
    )


def _median(numbers: list[int]) -> int:
    """The middle one, the lower of two (the module statistics takes long to import)."""
    return sorted(numbers)[(len(numbers) - 1) // 2]


def _pieces(held_out: Ids, size: int) -> list[Ids]:
    """Pieces of the held-out text of about the given size, evenly spread, none overlapping."""
    size = min(size, len(held_out))
    if not size:
        return []
    count = max(1, min(HELD_OUT_PIECES, HELD_OUT_SYMBOLS // size, len(held_out) // size))
    starts = np.linspace(0, len(held_out) - size, count).astype(int)
    return [held_out[start : start + size] for start in starts]


def _longest_apart(found: Sequence[Shared]) -> list[Stretch]:
    """The longest stretches of all the texts, those left out that overlap a longer one."""
    longest: list[Stretch] = []
    for number, one in enumerate(found):
        told = 0
        for end in one.ends[np.argsort(-one.lengths[one.ends], kind="stable")].tolist():
            new = one.stretch(end, number)
            if not any(new.overlaps(old) for old in longest):
                longest.append(new)
                told += 1
            if told == STRETCHES_SHOWN:
                break
    return sorted(longest, key=lambda stretch: -stretch.length)[:STRETCHES_SHOWN]


def _whole_lines(piece: Ids, line_end: int) -> Ids:
    """What lies between the first and the last line end of a piece."""
    ends = np.flatnonzero(piece == line_end)
    return piece[ends[0] + 1 : ends[-1]] if len(ends) else piece[:0]


def _known_lines(text: Ids, found: Shared, training: Ids, line_end: int) -> Ids:
    """For each line of a text that is not empty, whether it is a line of the training text.

    text: begins and ends with a line end.
    """
    ends = np.flatnonzero(text == line_end)
    starts, ends = ends[:-1], ends[1:]  # the line end before each line, and its own
    lengths = ends - starts
    known = found.lengths[ends] > lengths
    # the training text's own first line has no line end before it
    first = np.flatnonzero(training[: int(lengths.max()) + 1] == line_end)
    if len(first):
        size = int(first[0]) + 1
        for n in np.flatnonzero(lengths == size):
            known[n] |= np.array_equal(text[starts[n] + 1 : ends[n] + 1], training[:size])
    return known[lengths > 1]


def _figures_to_dict(figures: Figures) -> dict[str, Any]:
    about = {
        "characters": figures.symbols,
        "longest": figures.longest,
        "shares": {str(n): share for n, share in figures.shares.items()},
    }
    if figures.lines is not None:
        about |= {"lines": figures.lines, "known_lines": figures.known_lines}
    return about
