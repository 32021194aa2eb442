"""Batches of a text for training: windows of parallel streams, or windows of lines.

A window is an array of ids (T+1, B): rows 0..T-1 are the inputs, rows 1..T the targets. Targets
equal to PADDING do not count in the loss. The position of the next window can be saved and loaded.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.seeds import generator_to_dict, load_generator
from charlstm.system.wording import counted
from charlstm.untrusted import entry, integer

Flags = npt.NDArray[np.bool_]

PADDING = -1

# T of a window of lines is rounded up to a multiple of this number. Windows of equal T can use the
# same arrays of activations, and rounding makes equal T more frequent.
STEPS_MULTIPLE = 16


class Batches(ABC):
    """An endless sequence of windows; `windows_per_pass` of them make one pass over the text."""

    batch_size: int  # number of columns of each window
    seq_length: int  # the largest T of a window
    windows_per_pass: int
    symbols_per_window: float  # average number of targets of a window, without padding

    def __init__(self, rng: np.random.Generator) -> None:
        self.passes: int = 0  # completed passes over the text
        self._rng = rng
        self._begin_pass()

    def _begin_pass(self) -> None:
        self.windows_done: int = 0  # windows returned so far in this pass

    def next_window(self) -> Ids:
        """Return the next window, ids (T+1, B), and advance."""
        window = self._current_window()
        self.windows_done += 1
        if self.windows_done == self.windows_per_pass:
            self.passes += 1
            self._begin_pass()
        return window

    @property
    @abstractmethod
    def begins_text(self) -> Flags:
        """Whether each column of the next window begins a text: flags (B,).

        The model reads such a column from its initial state, and each other column from its state
        after the previous window.
        """

    @abstractmethod
    def _current_window(self) -> Ids:
        """Return the window at the current position."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the position of the next window as a dictionary for JSON."""

    @abstractmethod
    def load_dict(self, saved: dict[str, Any]) -> None:
        """Continue from a position that to_dict returned."""

    def _load_position(self, saved: dict[str, Any]) -> None:
        self.passes = integer(saved, "passes")
        self.windows_done = integer(saved, "windows_done", most=self.windows_per_pass - 1)


def fit_batch(length: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """Return the batch size and sequence length for a text of `length` symbols.

    The given sizes are reduced if the text is too short for them: each stream needs at least one
    window. A text shorter than one window is read as one stream of one shorter window. Raises
    CharlstmError for a text of fewer than 2 symbols.
    """
    if length < 2:
        raise CharlstmError(
            f"a text of {counted(length, 'character')} is too small to learn from: use a longer "
            "text"
        )
    seq_length = min(seq_length, length - 1)
    return min(batch_size, max(1, length // seq_length)), seq_length


class StreamBatches(Batches):
    """B parallel streams of the text, in windows of T steps, for truncated back-propagation.

    The text is read as a ring: after its end comes its beginning. The ring is cut into `batch_size`
    streams of equal length, in each pass from a new random offset. With a fixed offset, the
    symbols after the last complete window of each stream would never be read, and the same symbols
    would begin the streams in every pass.

    recut: whether each pass draws a random offset; if False, the offset is always 0.
    """

    def __init__(
        self,
        ids: Ids,
        batch_size: int,
        seq_length: int,
        rng: np.random.Generator,
        recut: bool = True,
    ) -> None:
        self.ids, self.recut = ids, recut
        self.batch_size, self.seq_length = fit_batch(len(ids), batch_size, seq_length)
        self.stream_length = len(ids) // self.batch_size
        self.windows_per_pass = self.stream_length // self.seq_length
        self.symbols_per_window = float(self.batch_size * self.seq_length)
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self.offset = int(self._rng.integers(len(self.ids))) if self.recut else 0

    @property
    def begins_text(self) -> Flags:
        """All true if the next window is the first of a pass, else all false."""
        return np.full(self.batch_size, self.windows_done == 0)

    def _current_window(self) -> Ids:
        first = self.offset + self.windows_done * self.seq_length
        starts = first + self.stream_length * np.arange(self.batch_size)
        positions = starts + np.arange(self.seq_length + 1)[:, None]
        window: Ids = self.ids[positions % len(self.ids)].astype(np.intp)
        return window

    def to_dict(self) -> dict[str, Any]:
        """Return the position of the next window as a dictionary for JSON."""
        return {
            "passes": self.passes,
            "offset": self.offset,
            "windows_done": self.windows_done,
            "generator": generator_to_dict(self._rng),
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Continue from a position that to_dict returned."""
        self._load_position(saved)
        self.offset = integer(saved, "offset", most=len(self.ids) - 1)
        load_generator(self._rng, entry(saved, "generator"))


def line_spans(ids: Ids, line_end: int, longest: int) -> tuple[Ids, Ids]:
    """Return the positions at which the lines of a text start and stop, without empty lines.

    A line includes its line end. A line of more than `longest` symbols is cut into spans of that
    length and a last span with the remaining symbols.
    """
    if not len(ids):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    stops = np.flatnonzero(ids == line_end) + 1
    if not len(stops) or stops[-1] < len(ids):
        stops = np.append(stops, len(ids))
    starts = np.concatenate(([0], stops[:-1]))
    spans_per_line = -(-(stops - starts) // longest)
    first = np.repeat(np.cumsum(spans_per_line) - spans_per_line, spans_per_line)
    starts = np.repeat(starts, spans_per_line)
    starts += longest * (np.arange(spans_per_line.sum()) - first)
    stops = np.minimum(starts + longest, np.repeat(stops, spans_per_line))
    not_empty = ids[starts] != line_end
    return starts[not_empty], stops[not_empty]


def line_blocks(ids: Ids, line_end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the positions where blocks of complete lines of a text start and stop, in order.

    A block has at most `size` symbols, except that a longer line is a block of its own. Code that
    processes one block at a time needs little memory for a text of any size.
    """
    start = 0
    while start < len(ids):
        stop = min(start + size, len(ids))
        if stop < len(ids):
            ends = np.flatnonzero(ids[start:stop] == line_end)
            if len(ends):
                stop = start + int(ends[-1]) + 1
            while not len(ends) and stop < len(ids):
                ends = np.flatnonzero(ids[stop : stop + size] == line_end)
                stop = stop + int(ends[0]) + 1 if len(ends) else min(stop + size, len(ids))
        yield start, stop
        start = stop


def lines_window(ids: Ids, line_end: int, starts: Ids, stops: Ids, batch_size: int) -> Ids:
    """Return a window (T+1, batch_size) with a line in each column.

    A column begins with a line end as the start symbol; then come the line, with its own line end,
    and padding.

    T is the length of the longest line, rounded up to a multiple of STEPS_MULTIPLE. Columns for
    which there is no line are filled with padding. A column for the second or a later span of a
    long line begins with the symbol before that span instead of a line end.
    """
    longest = int((stops - starts).max())
    T = -(-longest // STEPS_MULTIPLE) * STEPS_MULTIPLE
    window = np.full((T + 1, batch_size), PADDING, np.intp)
    for column, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        window[0, column] = ids[start - 1] if start else line_end
        window[1 : stop - start + 1, column] = ids[start:stop]
    return window


class LineBatches(Batches):
    """Windows of `batch_size` lines. The model reads each line as a separate text.

    Each pass takes the lines in a new random order.

    seq_length: the length in symbols above which a line is cut into several spans.
    """

    def __init__(
        self, ids: Ids, line_end: int, batch_size: int, seq_length: int, rng: np.random.Generator
    ) -> None:
        self.ids, self.line_end, self.seq_length = ids, line_end, seq_length
        self._starts, self._stops = line_spans(ids, line_end, seq_length)
        if not len(self._starts):
            raise CharlstmError("the text has only empty lines: use a text with other lines")
        self.batch_size = min(batch_size, len(self._starts))
        self.windows_per_pass = -(-len(self._starts) // self.batch_size)
        symbols = int((self._stops - self._starts).sum())
        self.symbols_per_window = symbols / self.windows_per_pass
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self._order_state = generator_to_dict(self._rng)
        self._order = self._rng.permutation(len(self._starts))

    @property
    def begins_text(self) -> Flags:
        """All true: no line continues another line."""
        return np.full(self.batch_size, True)

    def _current_window(self) -> Ids:
        # The last window of a pass may have fewer lines than columns.
        first = self.windows_done * self.batch_size
        chosen = self._order[first : first + self.batch_size]
        starts, stops = self._starts[chosen], self._stops[chosen]
        return lines_window(self.ids, self.line_end, starts, stops, self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the position of the next window as a dictionary for JSON.

        The entry "generator" is the state from which the order of the lines in this pass was drawn.
        """
        return {
            "passes": self.passes,
            "windows_done": self.windows_done,
            "generator": self._order_state,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Continue from a position that to_dict returned."""
        load_generator(self._rng, entry(saved, "generator"))
        self._begin_pass()
        self._load_position(saved)
