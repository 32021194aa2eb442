"""Lanes: B parallel streams through one text, in windows of T steps, from a position to save."""

from typing import Any

import numpy as np

from .arrays import Ids
from .errors import CharlstmError
from .randomness import generator_state, restore_generator


def fit_lanes(length: int, lanes: int, window: int) -> tuple[int, int]:
    """The lanes and the window that a text of `length` symbols has room for, at most those asked.

    Each lane needs at least one window of its own; a text shorter than one window gets one lane
    and a shorter window.
    """
    if length < 2:
        raise CharlstmError(f"a text of {length} characters is too small to learn from")
    window = min(window, length - 1)
    return min(lanes, max(1, length // window)), window


class Lanes:
    """Windows of ids for truncated back-propagation through time.

    The text is read as a ring, cut into `count` lanes of equal length. Each pass starts at a new
    random offset, so that over the passes no place is always a lane's first or a window's last.
    """

    def __init__(self, ids: Ids, count: int, window: int, rng: np.random.Generator) -> None:
        self.ids = ids
        self.count, self.window = fit_lanes(len(ids), count, window)
        self.lane_length = len(ids) // self.count
        self.windows_per_pass = self.lane_length // self.window
        self.passes = 0  # finished ones
        self._rng = rng
        self._begin_pass()

    def _begin_pass(self) -> None:
        self.offset = int(self._rng.integers(len(self.ids)))
        self.windows_done = 0

    @property
    def starts_pass(self) -> bool:
        """Whether the next window is the first of a pass, so that no state should carry into it."""
        return self.windows_done == 0

    def next_window(self) -> Ids:
        """The next (T+1, B) ids: rows 0..T-1 are the inputs, rows 1..T the targets."""
        first = self.offset + self.windows_done * self.window
        starts = first + self.lane_length * np.arange(self.count)
        positions = starts + np.arange(self.window + 1)[:, None]
        window: Ids = self.ids[positions % len(self.ids)].astype(np.intp)
        self.windows_done += 1
        if self.windows_done == self.windows_per_pass:
            self.passes += 1
            self._begin_pass()
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
        self.passes = int(state["passes"])
        self.offset = int(state["offset"])
        self.windows_done = int(state["windows_done"])
        restore_generator(self._rng, state["generator"])
