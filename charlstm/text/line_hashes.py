"""Hashes of the lines of a text, to compare many lines in little memory."""

import numpy as np

from charlstm.arrays import Array, Ids

BLOCK_SYMBOLS = 1 << 20  # symbols that are hashed at a time
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # factors of SplitMix64 (Steele et al. 2014)


def lines_of(ids: Ids, line_end: int) -> tuple[Ids, Ids]:
    """Return the start and the length of each line of a text; a length includes the line end."""
    starts = np.concatenate(([0], np.flatnonzero(ids == line_end) + 1))
    starts = starts[starts < len(ids)]
    return starts, np.diff(starts, append=len(ids))


def line_hashes(ids: Ids, line_end: int, starts: Ids, lengths: Ids, salt: np.uint64) -> Array:
    """Return a 64-bit hash of each line without its line end; an empty line has the hash 0.

    starts, lengths: the lines, as `lines_of` returns them.
    salt: a number on which the hashes depend.
    """
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
