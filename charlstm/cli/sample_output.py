"""Samples on standard output: the first one as it grows, and a line between two samples."""

import sys
from collections.abc import Iterable, Iterator
from itertools import count as numbers_from

from charlstm.text.vocab import Vocab

FEWEST_DASHES = 3  # the length of the shortest line of dashes that separates samples


def separator_of(samples: Iterable[str]) -> str:
    """Return the shortest line of three or more dashes that is not a line of any sample."""
    lines = {line for sample in samples for line in sample.split("\n")}
    dashes = ("-" * number for number in numbers_from(FEWEST_DASHES))
    return next(line for line in dashes if line not in lines)


def print_samples(
    vocab: Vocab,
    steps: Iterator[list[str]],
    count: int,
    prime: str,
    between: str | None,
    keep: bool,
) -> list[str]:
    """Print the first sample while it grows, then the other samples; return the texts of all.

    steps: yields, at each step, the new text of each sample.
    prime: the text to print before each sample.
    between: the text to print between two samples; None for the line of `separator_of`.
    keep: whether to return the text of a single sample too; if False, "" stands for the text.
        Keeping an endless sample would fill the memory.
    """
    kept: list[list[str]] = [[] for _ in range(count)]
    print_now(vocab, prime)
    for pieces in steps:
        print_now(vocab, pieces[0])
        if keep or count > 1:
            for own, piece in zip(kept, pieces, strict=True):
                own.append(piece)
    texts = ["".join(pieces) for pieces in kept]
    if between is None:
        between = f"\n{separator_of(prime + text for text in texts)}\n"
    for text in texts[1:]:
        print_now(vocab, between + prime + text)
    print_now(vocab, "\n")
    return texts


def print_lines(vocab: Vocab, lines: Iterable[str], prime: str, between: str | None) -> list[str]:
    """Print each line as soon as it is sampled; return all lines.

    prime: the text to print before each line. between: the text to print between two lines.
    """
    kept: list[str] = []
    for line in lines:
        print_now(vocab, ((between or "") if kept else "") + prime + line)
        kept.append(line)
    if kept:
        print_now(vocab, "\n")
    return kept


def print_now(vocab: Vocab, text: str) -> None:
    """Write a text to standard output and flush it; at level "byte", write the text's bytes."""
    # On a terminal, sys.stdout is a VisibleControls, which has no buffer.
    buffer = getattr(sys.stdout, "buffer", None)
    if vocab.level == "byte" and buffer is not None:
        buffer.write(vocab.encode(text).tobytes())
    else:
        sys.stdout.write(text)
    sys.stdout.flush()
