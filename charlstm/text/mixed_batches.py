"""Batches of two texts: some columns of each window come from a second text, as --mix asks for."""

from typing import Any

import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import ArgumentError
from charlstm.text.batches import PADDING, Batches, Flags, fit_batch
from charlstm.untrusted import of_type


def mixed_size(batch_size: int, share: float) -> int:
    """Return how many of the columns of a window are for a second text; CharlstmError if none can.

    share: the fraction of the columns. Each of the two texts gets at least one column.
    """
    if batch_size < 2:
        raise ArgumentError(
            "`mix` needs a `batch_size` of 2 or more: each of the two texts needs a stream"
        )
    return min(max(1, round(batch_size * share)), batch_size - 1)


def fit_mixed_batch(
    lengths: tuple[int, int], batch_size: int, seq_length: int, share: float
) -> tuple[int, int, int]:
    """Return the batch size for each of two texts, and the sequence length for both.

    lengths: the lengths of the texts. The sizes are reduced as by fit_batch.
    """
    of_second = mixed_size(batch_size, share)
    first, length = fit_batch(lengths[0], batch_size - of_second, seq_length)
    second, other_length = fit_batch(lengths[1], of_second, seq_length)
    return first, second, min(length, other_length)


class MixedBatches(Batches):
    """Windows whose first columns come from one text, and whose other columns from a second one.

    A pass is a pass over the first text. The second text is read in parallel, again and again.
    """

    def __init__(self, first: Batches, second: Batches) -> None:
        self._first, self._second = first, second
        self.batch_size = first.batch_size + second.batch_size
        self.seq_length = max(first.seq_length, second.seq_length)
        self.windows_per_pass = first.windows_per_pass
        self.symbols_per_window = first.symbols_per_window + second.symbols_per_window
        self.passes = self.windows_done = 0

    @property
    def share(self) -> float:
        """The fraction of the columns that come from the second text."""
        return self._second.batch_size / self.batch_size

    @property
    def begins_text(self) -> Flags:
        """Whether each column of the next window begins a text: flags (B,)."""
        return np.concatenate((self._first.begins_text, self._second.begins_text))

    def _begin_pass(self) -> None:
        # The first text has begun its own next pass.
        self.windows_done = 0

    def _current_window(self) -> Ids:
        # The columns of the text with the shorter window are padded.
        first, second = self._first.next_window(), self._second.next_window()
        window = np.full((max(len(first), len(second)), self.batch_size), PADDING, np.intp)
        window[: len(first), : self._first.batch_size] = first
        window[: len(second), self._first.batch_size :] = second
        return window

    def to_dict(self) -> dict[str, Any]:
        """Return the positions in both texts as a dictionary for JSON."""
        return {"first": self._first.to_dict(), "second": self._second.to_dict()}

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Continue from the positions that to_dict returned."""
        self._first.load_dict(of_type(dict, saved, "first"))
        self._second.load_dict(of_type(dict, saved, "second"))
        self.passes, self.windows_done = self._first.passes, self._first.windows_done
