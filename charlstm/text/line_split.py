"""The split of a text of lines into lines to train on and lines to validate on.

The lines to validate on are drawn at random, or they are the last lines. If a list is sorted, its
last lines differ from the others: the loss on them says little of how well a model predicts a new
line. In a random split, equal lines are either all for training or all for validation: otherwise
the validation text would have lines that the model was trained on.
"""

import numpy as np

from charlstm.arrays import Ids
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.text.line_hashes import BLOCK_SYMBOLS, line_hashes, lines_of


def split_by_lines(ids: Ids, line_end: int, fraction: float, seed: int) -> tuple[Ids, Ids]:
    """Return the ids of the lines to train on and of the lines to validate on, in text order.

    Distinct lines are drawn for validation until one more line would make the drawn lines more than
    `fraction` of the text. If the text has at least two different lines, one or more are drawn.
    Empty lines are not drawn.
    """
    if not fraction or not len(ids):
        return ids, ids[:0]
    require_memory(ids.nbytes, "a text of lines", 'give a shorter text, or `val_split="end"`')
    starts, lengths = lines_of(ids, line_end)
    salt = generator(seed, "split").integers(1 << 64, dtype=np.uint64)
    hashes = line_hashes(ids, line_end, starts, lengths, salt)
    distinct, which = np.unique(hashes, return_inverse=True)  # sorted by hash: a random order
    symbols = np.bincount(which, weights=lengths)
    symbols[distinct == 0] = 0
    drawn = np.cumsum(symbols) <= fraction * len(ids)
    drawable = np.flatnonzero(distinct != 0)  # an empty line has the hash 0
    if len(drawable) > 1:
        drawn[drawable[0]] = True
        drawn[drawable[-1]] = False
    else:
        drawn[:] = False
    drawn[distinct == 0] = False
    for_validation = np.repeat(drawn[which], lengths)
    return ids[~for_validation], ids[for_validation]


def border_between_lines(ids: Ids, line_end: int, border: int) -> int:
    """Return the start of the line that a border between two parts of a text would cut.

    If that is the first line, the result is the end of that line. A border between two lines, or at
    the end of the text, is returned as it is.
    """
    if border == len(ids):
        return border
    for stop in range(border, 0, -BLOCK_SYMBOLS):
        start = max(0, stop - BLOCK_SYMBOLS)
        if len(ends := np.flatnonzero(ids[start:stop] == line_end)):
            return start + int(ends[-1]) + 1
    for start in range(border, len(ids), BLOCK_SYMBOLS):
        if len(ends := np.flatnonzero(ids[start : start + BLOCK_SYMBOLS] == line_end)):
            return start + int(ends[0]) + 1
    return len(ids)
