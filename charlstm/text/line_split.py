"""A random split of a text of lines into lines to train on and lines to validate on.

If a list is sorted, its last lines differ from the others: the loss on them says little of how well
a model predicts a new line. Equal lines are either all for training or all for validation:
otherwise the validation text would have lines that the model was trained on.
"""

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.seeds import generator
from charlstm.system.memory import require_memory

BLOCK_SYMBOLS = 1 << 20  # symbols that are hashed at a time
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # factors of SplitMix64 (Steele et al. 2014)


def split_by_lines(ids: Ids, line_end: int, fraction: float, seed: int) -> tuple[Ids, Ids]:
    """Return the ids of the lines to train on and of the lines to validate on, in text order.

    Distinct lines are drawn for validation until the next line would make them more than `fraction`
    of the text. If the text has at least two different lines, one or more are drawn. Empty lines
    are not drawn.
    """
    if not fraction or not len(ids):
        return ids, ids[:0]
    require_memory(ids.nbytes, "a text of lines", "give a shorter text, or --val-split end")
    starts = np.concatenate(([0], np.flatnonzero(ids == line_end) + 1))
    starts = starts[starts < len(ids)]
    lengths = np.diff(starts, append=len(ids))
    hashes = _hashes(ids, line_end, starts, lengths, seed)
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


def _hashes(ids: Ids, line_end: int, starts: Ids, lengths: Ids, seed: int) -> Array:
    """Return a hash of each line without its line end. The hashes depend on the seed."""
    salt = generator(seed, "split").integers(1 << 64, dtype=np.uint64)
    hashes = np.empty(len(starts), np.uint64)
    first = 0
    while first < len(starts):
        last = np.searchsorted(starts, starts[first] + BLOCK_SYMBOLS)
        last = max(first + 1, int(last) - 1) if last < len(starts) else len(starts)
        begin, size = starts[first], int(lengths[first:last].sum())
        symbols = ids[begin : begin + size]
        places = np.arange(size) - np.repeat(starts[first:last] - begin, lengths[first:last])
        mixed = _mixed(
            (places.astype(np.uint64) << np.uint64(32)) + symbols.astype(np.uint64), salt
        )
        mixed[symbols == line_end] = 0
        hashes[first:last] = np.add.reduceat(mixed, starts[first:last] - begin)
        first = last
    is_empty = ids[starts] == line_end
    hashes = _mixed(hashes, salt)
    hashes[is_empty] = 0
    return hashes


def _mixed(values: Array, salt: np.uint64) -> Array:
    """Return pseudo-random 64-bit numbers, one for each value."""
    mixed: Array = values + salt
    for shift, factor in zip((30, 27), _MIX, strict=True):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return mixed
