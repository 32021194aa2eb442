"""Batches of a text: B parallel streams in windows of T steps, or whole lines, B at a time.

Both give windows of ids (T+1, B), rows 0..T-1 the inputs and rows 1..T the targets, and have a
position that can be saved. Where a window has nothing to learn, it has PADDING.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .arrays import Ids
from .bounds import whole
from .errors import CharlstmError
from .randomness import generator_state, restore_generator

PADDING = -1

STEPS_ROUNDED_TO = 16  # lines of nearly equal length share a workspace


class Batches(ABC):
    """Windows of `count` columns, `windows_per_pass` to a pass over the text."""

    count: int
    window: int  # the most steps of a window
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
    def state(self) -> dict[str, Any]:
        """The position, as a JSON object for `restore`."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a position that `state` gave."""

    def _restore_position(self, state: dict[str, Any]) -> None:
        self.passes = whole(state, "passes")
        self.windows_done = whole(state, "windows_done", most=self.windows_per_pass - 1)


def fit_lanes(length: int, lanes: int, window: int) -> tuple[int, int]:
    """The lanes and the window that a text of `length` symbols has room for, at most those asked.

    Each lane needs at least one window of its own; a text shorter than one window gets one lane
    and a shorter window.
    """
    if length < 2:
        raise CharlstmError(f"a text of {length} characters is too small to learn from")
    window = min(window, length - 1)
    return min(lanes, max(1, length // window)), window


class Lanes(Batches):
    """Windows of ids for truncated back-propagation through time.

    The text is read as a ring, cut into `count` lanes of equal length. Each pass starts at a new
    random offset, so that over the passes no place is always a lane's first, a window's last, or
    left out: a pass ends with the last whole window of a lane. Without `recut` all start at 0.
    """

    def __init__(
        self, ids: Ids, count: int, window: int, rng: np.random.Generator, recut: bool = True
    ) -> None:
        self.ids, self.recut = ids, recut
        self.count, self.window = fit_lanes(len(ids), count, window)
        self.lane_length = len(ids) // self.count
        self.windows_per_pass = self.lane_length // self.window
        self.symbols_per_window = float(self.count * self.window)
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self.offset = int(self._rng.integers(len(self.ids))) if self.recut else 0

    @property
    def starts_afresh(self) -> bool:
        """Whether the next window is the first of a pass."""
        return self.windows_done == 0

    def _window_now(self) -> Ids:
        first = self.offset + self.windows_done * self.window
        starts = first + self.lane_length * np.arange(self.count)
        positions = starts + np.arange(self.window + 1)[:, None]
        window: Ids = self.ids[positions % len(self.ids)].astype(np.intp)
        return window

    def state(self) -> dict[str, Any]:
        """The position, as a JSON object for `restore`."""
        return {
            "passes": self.passes,
            "offset": self.offset,
            "windows_done": self.windows_done,
            "generator": generator_state(self._rng),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a position that `state` gave."""
        self._restore_position(state)
        self.offset = whole(state, "offset", most=len(self.ids) - 1)
        restore_generator(self._rng, state["generator"])


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
    for lane, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        window[0, lane] = ids[start - 1] if start else line_end
        window[1 : stop - start + 1, lane] = ids[start:stop]
    return window


class Lines(Batches):
    """Windows of `count` lines, each an independent text; every pass in a new random order.

    window: the most symbols of a line that are learned at once; a longer one is cut.
    """

    def __init__(
        self, ids: Ids, line_end: int, count: int, window: int, rng: np.random.Generator
    ) -> None:
        self.ids, self.line_end, self.window = ids, line_end, window
        self._starts, self._stops = line_spans(ids, line_end, window)
        if not len(self._starts):
            raise CharlstmError("the text has only empty lines: too small to learn from")
        self.count = min(count, len(self._starts))
        self.windows_per_pass = -(-len(self._starts) // self.count)
        symbols = int((self._stops - self._starts).sum())
        self.symbols_per_window = symbols / self.windows_per_pass
        super().__init__(rng)

    def _begin_pass(self) -> None:
        super()._begin_pass()
        self._order_state = generator_state(self._rng)
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

    def state(self) -> dict[str, Any]:
        """The position: the generator as it was before it drew this pass's order."""
        return {
            "passes": self.passes,
            "windows_done": self.windows_done,
            "generator": self._order_state,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a position that `state` gave."""
        restore_generator(self._rng, state["generator"])
        self._begin_pass()
        self._restore_position(state)
