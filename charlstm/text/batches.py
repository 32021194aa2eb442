"""Batches of a text: B parallel streams in windows of T steps, or whole lines, B at a time.

Both give windows of ids (T+1, B), rows 0..T-1 the inputs and rows 1..T the targets, and have a
position that can be saved. Where a window has nothing to learn, it has PADDING.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.seeds import generator_to_dict, load_generator
from charlstm.untrusted import integer

PADDING = -1

STEPS_ROUNDED_TO = 16  # lines of nearly equal length share a workspace


class Batches(ABC):
    """Windows of `count` columns, `windows_per_pass` to a pass over the text."""

    count: int
    seq_length: int  # the most steps of a window
    windows_per_pass: int
    symbols_per_window: float  # that are learned, on the average

    def __init__(self, rng: np.random.Generator) -> None:
        self.passes = 0  # finished ones
        self._rng = rng
        self._begin_pass()

    def _begin_pass(self) -> None:
        self.windows_done = 0

    def next_window(self) -> Ids:
        """The next (T+1, B) ids."""
        window = self._window_now()
        self.windows_done += 1
        if self.windows_done == self.windows_per_pass:
            self.passes += 1
            self._begin_pass()
        return window

    @property
    @abstractmethod
    def starts_afresh(self) -> bool:
        """Whether the next window follows nothing, so that no state should carry into it."""

    @abstractmethod
    def _window_now(self) -> Ids:
        """The window at the present position."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The position, for JSON."""

    @abstractmethod
    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a position that to_dict gave."""

    def _load_position(self, saved: dict[str, Any]) -> None:
        self.passes = integer(saved, "passes")
        self.windows_done = integer(saved, "windows_done", most=self.windows_per_pass - 1)


def fit_batch(length: int, batch_size: int, seq_length: int) -> tuple[int, int]:
    """The streams and the window that a text of `length` symbols has room for, at most those asked.

    Each stream needs at least one window of its own; a text shorter than one window gets one stream
    and a shorter window.
    """
    if length < 2:
        raise CharlstmError(f"a text of {length} characters is too small to learn from")
    seq_length = min(seq_length, length - 1)
    return min(batch_size, max(1, length // seq_length)), seq_length


class StreamBatches(Batches):
    """Windows of ids for truncated back-propagation through time.

    The text is read as a ring, cut into `count` streams of equal length. Each pass starts at a new
    random offset, so that over the passes no place is always a stream's first, a window's last, or
    left out: a pass ends with the last whole window of a stream. Without `recut` all start at 0.
    """

    def __init__(
        self, ids: Ids, count: int, seq_length: int, rng: np.random.Generator, recut: bool = True
    ) -> None:
        self.ids, self.recut = ids, recut
        self.count, self.seq_length = fit_batch(len(ids), count, seq_length)
        self.stream_length = len(ids) // self.count
        self.windows_per_pass = self.stream_length // self.seq_length
        self.symbols_per_window = float(self.count * self.seq_length)
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self.offset = int(self._rng.integers(len(self.ids))) if self.recut else 0

    @property
    def starts_afresh(self) -> bool:
        """Whether the next window is the first of a pass."""
        return self.windows_done == 0

    def _window_now(self) -> Ids:
        first = self.offset + self.windows_done * self.seq_length
        starts = first + self.stream_length * np.arange(self.count)
        positions = starts + np.arange(self.seq_length + 1)[:, None]
        window: Ids = self.ids[positions % len(self.ids)].astype(np.intp)
        return window

    def to_dict(self) -> dict[str, Any]:
        """The position, for JSON."""
        return {
            "passes": self.passes,
            "offset": self.offset,
            "windows_done": self.windows_done,
            "generator": generator_to_dict(self._rng),
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a position that to_dict gave."""
        self._load_position(saved)
        self.offset = integer(saved, "offset", most=len(self.ids) - 1)
        load_generator(self._rng, saved["generator"])


def line_spans(ids: Ids, line_end: int, longest: int) -> tuple[Ids, Ids]:
    """Where the lines of a text start and stop, their ends included; empty lines are left out.

    A line of more than `longest` symbols is cut into pieces of that length.
    """
    if not len(ids):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    stops = np.flatnonzero(ids == line_end) + 1
    if not len(stops) or stops[-1] < len(ids):
        stops = np.append(stops, len(ids))
    starts = np.concatenate(([0], stops[:-1]))
    pieces = -(-(stops - starts) // longest)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.repeat(starts, pieces) + longest * (np.arange(pieces.sum()) - first)
    stops = np.minimum(starts + longest, np.repeat(stops, pieces))
    filled = ids[starts] != line_end
    return starts[filled], stops[filled]


def lines_window(ids: Ids, line_end: int, starts: Ids, stops: Ids, count: int) -> Ids:
    """Lines side by side in a window (T+1, count): each after a line end, then padding."""
    longest = int((stops - starts).max())
    T = -(-longest // STEPS_ROUNDED_TO) * STEPS_ROUNDED_TO
    window = np.full((T + 1, count), PADDING, np.intp)
    for stream, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        window[0, stream] = ids[start - 1] if start else line_end
        window[1 : stop - start + 1, stream] = ids[start:stop]
    return window


class LineBatches(Batches):
    """Windows of `count` lines, each an independent text; every pass in a new random order.

    seq_length: the most symbols of a line that are learned at once; a longer one is cut.
    """

    def __init__(
        self, ids: Ids, line_end: int, count: int, seq_length: int, rng: np.random.Generator
    ) -> None:
        self.ids, self.line_end, self.seq_length = ids, line_end, seq_length
        self._starts, self._stops = line_spans(ids, line_end, seq_length)
        if not len(self._starts):
            raise CharlstmError("the text has only empty lines: too small to learn from")
        self.count = min(count, len(self._starts))
        self.windows_per_pass = -(-len(self._starts) // self.count)
        symbols = int((self._stops - self._starts).sum())
        self.symbols_per_window = symbols / self.windows_per_pass
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self._order_state = generator_to_dict(self._rng)
        self._order = self._rng.permutation(len(self._starts))

    @property
    def starts_afresh(self) -> bool:
        """Always: lines have nothing to do with one another."""
        return True

    def _window_now(self) -> Ids:
        # fewer lines than `count` at the end of a pass: the other columns are padding
        first = self.windows_done * self.count
        chosen = self._order[first : first + self.count]
        starts, stops = self._starts[chosen], self._stops[chosen]
        return lines_window(self.ids, self.line_end, starts, stops, self.count)

    def to_dict(self) -> dict[str, Any]:
        """The position: the generator as it was before it drew this pass's order."""
        return {
            "passes": self.passes,
            "windows_done": self.windows_done,
            "generator": self._order_state,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from a position that to_dict gave."""
        load_generator(self._rng, saved["generator"])
        self._begin_pass()
        self._load_position(saved)
