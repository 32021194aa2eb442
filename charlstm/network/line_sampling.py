"""Sample lines from a model of lines: only new ones, or each line once."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from itertools import count as numbers_from
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.network.sampling import stream_texts
from charlstm.network.stack import RecurrentStack

MAX_TRIES = 1_000  # lines in a row that are passed over before sampling ends


@dataclass
class LineFilter:
    """Decides which lines to keep, and counts those that it passes over.

    known: the lines to pass over. unique: whether to pass over a line that was kept before.
    """

    known: Container[str] = ()
    unique: bool = False
    known_lines: int = 0
    repeated_lines: int = 0
    _kept: set[str] = field(default_factory=set)

    def keeps(self, line: str) -> bool:
        """Return whether to keep a line, and count it."""
        if line in self.known:
            self.known_lines += 1
            return False
        if self.unique:
            if line in self._kept:
                self.repeated_lines += 1
                return False
            self._kept.add(line)
        return True


def stream_lines(
    model: RecurrentStack,
    count: int,
    chosen: LineFilter,
    *,
    prime: str = "",
    stops: tuple[str, ...] = (),
    **options: Any,
) -> Iterator[str]:
    """Return an iterator of up to `count` sampled lines that the filter keeps, without the prime.

    There are fewer lines if the filter has passed over MAX_TRIES lines in a row. The first `count`
    lines that are drawn are those that the same seed gives without the filter. If the filter passes
    over some of the lines, further batches of `count` lines are drawn.

    prime: the beginning of each line. The filter sees the line with its prime.
    options: further arguments of stream_texts.

    Raises CharlstmError for bad arguments when it is called, not at the first line.
    """
    if not model.config.lines:
        raise CharlstmError("only a model of lines, trained with `lines=True`, writes new lines")
    stream = partial(stream_texts, model, count=count, prime=prime, stops=(*stops, "\n"), **options)
    first = stream(batch=0)
    batches = chain([first], (stream(batch=number) for number in numbers_from(1)))
    return _kept_lines(batches, count, chosen, prime.rpartition("\n")[2])


def _kept_lines(
    batches: Iterable[Iterator[list[str]]], count: int, chosen: LineFilter, begun: str
) -> Iterator[str]:
    """Yield the lines that the filter keeps. begun: the part of each line that is in the prime."""
    left, tries = count, 0
    for steps in batches:
        for text in map("".join, zip(*steps, strict=True)):
            if chosen.keeps(begun + text):
                yield text
                left, tries = left - 1, 0
            else:
                tries += 1
            if not left or tries == MAX_TRIES:
                return
