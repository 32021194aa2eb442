"""A random split of a text of lines into lines to train on and lines to validate on.

If a list is sorted, its last lines differ from the others: the loss on them says little of how well
a model predicts a new line. Equal lines are either all for training or all for validation:
otherwise the validation text would have lines that the model was trained on.
"""

import numpy as np

from charlstm.arrays import Ids
from charlstm.seeds import generator
from charlstm.system.memory import require_memory
from charlstm.text.line_hashes import line_hashes, lines_of


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
