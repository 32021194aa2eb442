"""Novelty: how much of a text is new, compared with the text that a model was trained on.

Held-out text of the same source also has stretches in common with the training text. A model is
therefore said to copy its training text only if the texts that it generates have more in common
with the training text than held-out text has.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from charlstm.analysis.stretches import Matches, Stretch, find_matches
from charlstm.arrays import Ids
from charlstm.config import Level, takes_options
from charlstm.system.memory import require_memory
from charlstm.system.wording import counted
from charlstm.text.decoder import errors_at
from charlstm.text.vocab import LEVELS, Vocab
from charlstm.text.vocab import line_end as line_end_of
from charlstm.text.words import split_words
from charlstm.untrusted import one_or_several, require_choice, require_type

# Lengths of stretches, for each unit of a vocabulary. For each length, the report counts the
# symbols in stretches of at least this length that also stand in the training text.
COUNTED_LENGTHS = {"character": (20, 50, 100), "byte": (20, 50, 100), "word": (5, 10, 20)}
BYTES_PER_SYMBOL = 64  # bytes of memory for each symbol of a text to compare
STRETCHES_SHOWN = 3
MAX_HELD_OUT_PIECES = 5
HELD_OUT_SYMBOLS = 10_000  # approximate total number of symbols in the held-out pieces


@dataclass(frozen=True)
class Comparison:
    """The comparison of some texts with the training text: how much they have in common.

    symbols: the total length of the texts. longest: the length of the longest stretch that a text
        has in common with the training text.
    shares: for each of COUNTED_LENGTHS, the fraction of symbols in stretches of at least this size.
    lines, known_lines: for a model of lines, the number of lines, and the number of lines that also
        stand in the training text.
    """

    symbols: int
    longest: int
    shares: dict[int, float]
    lines: int | None = None
    known_lines: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for JSON."""
        facts = {
            "characters": self.symbols,
            "longest": self.longest,
            "shares": {str(length): share for length, share in self.shares.items()},
        }
        if self.lines is not None:
            facts |= {"lines": self.lines, "known_lines": self.known_lines}
        return facts


@dataclass(frozen=True, repr=False)
class Novelty:
    """The comparison of `count` texts, the same for held-out text, and the longest stretches.

    texts: the comparison of the texts.
    held_out: the comparison of pieces of held-out text; None without held-out text. Each piece of
        held-out text is as long as all `count` texts together; of a text of lines, only the whole
        lines in a piece count, and pieces without a whole line are left out. The number `longest`
        of held-out text is the median over the pieces.
    longest_of_pieces: the length of the longest stretch of each piece, in ascending order.
    stretches: the longest stretches of the texts, in descending order; they do not overlap.
    """

    texts: Comparison
    count: int
    held_out: Comparison | None
    longest_of_pieces: list[int]
    stretches: list[Stretch]

    def __repr__(self) -> str:
        longest = f"longest stretch {self.texts.longest:,}"
        shares = ", ".join(f"{s:.1%} in stretches of {n}" for n, s in self.texts.shares.items())
        others = f"; of held-out text {self.held_out.longest:,}" if self.held_out else ""
        return f"Novelty({self.texts.symbols:,} symbols, {shares}, {longest}{others})"

    def to_dict(self) -> dict[str, Any]:
        """Return all facts, for JSON."""
        held_out = None
        if self.held_out is not None:
            held_out = {**self.held_out.to_dict(), "longest_of_pieces": self.longest_of_pieces}
        stretches = [asdict(stretch) for stretch in self.stretches]
        return {**self.texts.to_dict(), "stretches": stretches, "held_out": held_out}


@takes_options()
def novelty(
    sample: str | Iterable[str],
    training_text: str,
    *,
    held_out: str = "",
    level: Level = "char",
    lines: bool = False,
) -> Novelty:
    """Return how much of a sample, or of several, also occurs in the training text.

    held_out: text of the same source that the model was not trained on. Pieces of it, as long as
        the sample, are compared too: a model copies only if its samples have more in common with
        the training text than the held-out text has.
    level: the symbols to compare: "char", "byte" or "word".
    lines: whether each line is a text of its own; then the known lines of the sample are counted.
    """
    samples = one_or_several("sample", sample, str)
    require_type("training_text", training_text, str)
    require_type("held_out", held_out, str)
    require_type("lines", lines, bool)
    require_choice("level", level, LEVELS)
    vocab = _vocab_of(level, [*samples, training_text, held_out])
    texts = [vocab.encode(text) for text in samples]
    return measure_novelty(texts, vocab.encode(training_text), vocab.encode(held_out), vocab, lines)


def _vocab_of(level: Level, texts: Sequence[str]) -> Vocab:
    """Return a vocabulary of all symbols of some texts."""
    if level == "byte":
        return Vocab.bytes()
    if level == "word":
        return Vocab.from_words(word for text in texts for word in split_words(text))
    return Vocab.from_characters({"\n", " ", *chain.from_iterable(map(set, texts))})


def measure_novelty(
    texts: Sequence[Ids],
    training: Ids,
    held_out: Ids,
    vocab: Vocab,
    lines: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Novelty:
    """Compare texts, and pieces of held-out text of the same length, with the training text.

    texts: each (N,) ids. training, held_out: ids; held_out may be empty.
    vocab: the vocabulary of all ids.
    lines: whether each line is a text of its own. progress: see find_matches.
    """
    symbols = sum(map(len, texts))
    require_memory(
        BYTES_PER_SYMBOL * symbols,
        f"the novelty of {counted(symbols, vocab.unit)}",
        "give a shorter text",
    )
    line_end = line_end_of(vocab) if lines else None
    pieces = _pieces(held_out, symbols)
    known = None
    if line_end is None:
        matches = find_matches([*texts, *pieces], training, progress)
    else:
        whole = [_complete_lines(piece, line_end) for piece in pieces]
        pieces = [piece for piece in whole if len(piece)]  # A short piece may hold no whole line.
        framed = [np.concatenate(([line_end], t, [line_end])) for t in [*texts, *pieces]]
        with_ends = find_matches(framed, training, progress)
        known = [
            _known_lines(text, found, training, line_end)
            for text, found in zip(framed, with_ends, strict=True)
        ]
        matches = [found.without_ends() for found in with_ends]

    def compared(which: slice, longest: Callable[[list[int]], int]) -> Comparison:
        symbols = sum(len(m.lengths) for m in matches[which])
        covered = {
            n: sum(m.covered(n) for m in matches[which]) for n in COUNTED_LENGTHS[vocab.unit]
        }
        known_lines = None if known is None else np.concatenate([[], *known[which]])
        return Comparison(
            symbols=symbols,
            longest=longest([m.longest for m in matches[which]]),
            shares={length: count / max(1, symbols) for length, count in covered.items()},
            lines=None if known_lines is None else len(known_lines),
            known_lines=None if known_lines is None else int(known_lines.sum()),
        )

    def with_text(stretch: Stretch) -> Stretch:
        ids = training[stretch.place :][: stretch.length]
        return replace(stretch, text=vocab.decode(ids, errors_at(vocab.level)))

    own, others = slice(len(texts)), slice(len(texts), None)
    return Novelty(
        texts=compared(own, partial(max, default=0)),
        count=len(texts),
        held_out=compared(others, _lower_median) if pieces else None,
        longest_of_pieces=sorted(found.longest for found in matches[others]),
        stretches=[with_text(stretch) for stretch in _longest_stretches(matches[own])],
    )


def _lower_median(numbers: list[int]) -> int:
    """Return the median; if two numbers are in the middle, the lower of the two.

    The module `statistics` has this function, but takes long to import.
    """
    return sorted(numbers)[(len(numbers) - 1) // 2]


def _pieces(held_out: Ids, size: int) -> list[Ids]:
    """Return pieces of `size` symbols of the held-out text, evenly spread and not overlapping."""
    size = min(size, len(held_out))
    if not size:
        return []
    count = max(1, min(MAX_HELD_OUT_PIECES, HELD_OUT_SYMBOLS // size, len(held_out) // size))
    starts = np.linspace(0, len(held_out) - size, count).astype(int)
    return [held_out[start : start + size] for start in starts]


def _longest_stretches(matches: Sequence[Matches]) -> list[Stretch]:
    """Return the longest stretches of all texts, without those that overlap a longer one."""
    longest: list[Stretch] = []
    for number, found in enumerate(matches):
        of_text = 0
        for end in found.ends[np.argsort(-found.lengths[found.ends], kind="stable")].tolist():
            new = found.stretch(end, number)
            if not any(new.overlaps(old) for old in longest):
                longest.append(new)
                of_text += 1
            if of_text == STRETCHES_SHOWN:
                break
    return sorted(longest, key=lambda stretch: -stretch.length)[:STRETCHES_SHOWN]


def _complete_lines(piece: Ids, line_end: int) -> Ids:
    """Return the lines between the first and the last line end of a piece of text."""
    ends = np.flatnonzero(piece == line_end)
    return piece[ends[0] + 1 : ends[-1]] if len(ends) else piece[:0]


def _known_lines(text: Ids, matches: Matches, training: Ids, line_end: int) -> Ids:
    """Return for each line of a text, except empty lines, whether the training text has this line.

    text: ids that begin and end with the id of a line end.
    """
    ends = np.flatnonzero(text == line_end)
    starts, ends = ends[:-1], ends[1:]  # positions of the line ends before and after each line
    lengths = ends - starts
    # A line is known if the training text contains it with the line ends before and after it. The
    # first line of the training text has no line end before it, so it is compared separately.
    known = matches.lengths[ends] > lengths
    first_end = np.flatnonzero(training[: int(lengths.max()) + 1] == line_end)
    if len(first_end):
        size = int(first_end[0]) + 1
        for n in np.flatnonzero(lengths == size):
            known[n] |= np.array_equal(text[starts[n] + 1 : ends[n] + 1], training[:size])
    return known[lengths > 1]
