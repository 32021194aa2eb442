"""Spans of texts that are read in parallel to measure the loss of the texts."""

from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Ids


@dataclass(frozen=True, eq=False)
class Spans:
    """The spans into which texts are cut, to be read in parallel, numbered from 0.

    All spans of a text have the same length, except its last one, which may be shorter. Texts with
    longer spans come first: spans of neighbouring numbers are thus of similar length.

    starts, stops: (texts,) the positions of the first and of the last id of each text.
    lengths: (texts,) the number of predictions of a span of each text, in descending order.
    stop_numbers: (texts,) for each text, one more than the number of its last span.
    """

    starts: Ids
    stops: Ids
    lengths: Ids
    stop_numbers: Ids

    @classmethod
    def cut(cls, starts: Ids, stops: Ids, lengths: Ids) -> "Spans":
        """Cut texts into spans of the given lengths, one for each text."""
        order = np.argsort(-lengths, kind="stable")
        starts, stops, lengths = starts[order], stops[order], lengths[order]
        counts = -(-(stops - starts) // np.maximum(lengths, 1))
        return cls(starts, stops, lengths, np.cumsum(counts))

    def __len__(self) -> int:
        return int(self.stop_numbers[-1])

    def of_group(self, first: int, size: int) -> tuple[Ids, Ids, Ids]:
        """Return the starts and stops of `size` spans, and whether each begins a text."""
        numbers = np.arange(first, first + size)
        text = np.searchsorted(self.stop_numbers, numbers, "right")
        first_of_text = np.append(0, self.stop_numbers)[text]
        starts = self.starts[text] + (numbers - first_of_text) * self.lengths[text]
        stops = np.minimum(starts + self.lengths[text], self.stops[text])
        return starts, stops, numbers == first_of_text
