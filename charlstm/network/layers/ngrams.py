"""Direct connections from n-grams of the input to the output: a table of logits.

The last 2, 3, ... `longest` symbols each name a row of a table (slots, V), by a hash, and the rows
are added to what the head gives. What follows a short context is so learned from few examples, and
the recurrent layers are left with what it does not tell (Mikolov et al. 2011, "Strategies for
training large scale neural network language models", whose maximum-entropy features these are).
Contexts that share a row by chance are told apart by their other lengths.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids

MULTIPLIER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio (Knuth 1998, section 6.4)
NOTHING = 0  # the code of what comes before a text


def symbol_codes(symbols: Sequence[str]) -> Ids:
    """What stands for nothing and for each symbol in a hash, (1 + V,), whatever the vocabulary."""
    codes = [NOTHING]
    codes += [1 + zlib.crc32(symbol.encode("utf-8", "surrogatepass")) for symbol in symbols]
    return np.array(codes, np.uint64)


def ngram_rows(codes: Ids, steps: int, slots: int) -> Ids:
    """The rows (steps * B, longest - 1) of the contexts that end at each of the last steps.

    codes (longest - 1 + steps, B): those of the symbols, as symbol_codes gives them.
    """
    longest = len(codes) - steps + 1
    rows = np.empty((steps, codes.shape[1], longest - 1), np.intp)
    hashes = np.zeros((steps, codes.shape[1]), np.uint64)
    for back in range(longest):
        hashes += codes[longest - 1 - back :][:steps]
        hashes *= np.uint64(MULTIPLIER)
        if back:
            mixed = hashes ^ (hashes >> np.uint64(32))
            mixed *= np.uint64(MULTIPLIER)
            rows[..., back - 1] = (mixed >> np.uint64(32)) * np.uint64(slots) >> np.uint64(32)
    return rows.reshape(-1, longest - 1)


def ngrams_backward(rows: Ids, dlogits: Array, gradient: Array) -> None:
    """Overwrite the gradient of the whole table, (slots, V)."""
    each = np.repeat(dlogits, rows.shape[1], axis=0)
    kernels.sum_rows(rows.reshape(-1), each, gradient)


# -- what comes before a window ---------------------------------------------------------------
# It is a part of the state, (L, S, B, H), as further layers: the ids of the last symbols plus one,
# and 0 for nothing, so that a state of zeros follows nothing.


def history_layers(longest: int, parts: int, H: int) -> int:
    """The further layers of a state that hold the symbols before the last; 0 without n-grams."""
    return -(-max(0, longest - 1) // (parts * H))


def read_history(state: Array, longest: int, V: int) -> Ids:
    """The last longest - 1 ids plus one, (longest - 1, B), oldest first."""
    B = state.shape[2]
    numbers = np.moveaxis(state, 2, 0).reshape(B, -1)[:, : longest - 1]
    recent: Ids = np.rint(numbers.T).clip(0, V).astype(np.intp)
    return recent


def history_codes(state: Array, longest: int, codes: Ids) -> Ids:
    """The codes of the symbols before the last, (B, longest - 1), newest first."""
    if not longest:
        return np.empty((state.shape[2], 0), np.uint64)
    recent: Ids = codes[read_history(state, longest, len(codes) - 1)][::-1].T
    return recent


def write_history(recent: Ids, state: Array) -> None:
    """Overwrite the further layers of a state with ids plus one, (longest - 1, B)."""
    layers, parts, B, H = state.shape
    numbers = np.zeros((B, layers * parts * H), state.dtype)
    numbers[:, : len(recent)] = recent.T
    state[...] = np.moveaxis(numbers.reshape(B, layers, parts, H), 0, 2)
