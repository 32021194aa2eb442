"""The split of each file of a text into a part to train on and a last part to validate on.

The end of the last file says little of the other files. The last parts of all files say how well a
model predicts each of them.
"""

import numpy as np

from charlstm.arrays import Ids


def held_out_sizes(file_symbols: Ids, fraction: float) -> Ids:
    """Return how many symbols at the end of each file are for validation, (files,).

    A file from which fewer than 2 symbols would be held out is only trained on, because the first
    symbol of a part is never predicted.

    file_symbols: (files,) the number of symbols of each file.
    fraction: the fraction of each file to hold out.
    """
    held_out: Ids = file_symbols - (file_symbols * (1 - fraction)).astype(np.int64)
    held_out[held_out < 2] = 0
    return held_out


def starts_of_parts(sizes: Ids) -> Ids:
    """Return the positions at which parts of these sizes start, if they are joined in order.

    Parts without a symbol are left out.
    """
    sizes = sizes[sizes > 0]
    return np.cumsum(sizes) - sizes


def shortened(ids: Ids, starts: Ids, symbols: int, fewest: int) -> tuple[Ids, Ids]:
    """Return the beginnings of joined parts, joined again, and the positions where they start.

    Each part is shortened by the same factor, so that at most `symbols` ids are left. If fewer than
    `fewest` ids of a part would be left on average, only the longest parts are used.

    ids: the joined parts. starts: (parts,) the positions at which the parts start.
    """
    if len(ids) <= symbols:
        return ids, starts
    sizes = np.diff(starts, append=len(ids))
    used = max(1, min(len(sizes), symbols // fewest))
    left = np.zeros_like(sizes)
    longest = np.sort(np.argsort(-sizes, kind="stable")[:used])
    ends = np.cumsum(sizes[longest])
    left[longest] = np.diff(ends * min(symbols, ends[-1]) // ends[-1], prepend=0)
    parts = [ids[start : start + size] for start, size in zip(starts, left, strict=True) if size]
    return (parts[0] if len(parts) == 1 else np.concatenate(parts)), starts_of_parts(left)
