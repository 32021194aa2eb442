"""A table of n-grams: direct connections from the last symbols to the logits.

The contexts of a prediction are the last 2 symbols, the last 3, and so on, up to the last `longest`
symbols. A hash of each context is the index of a row in a table of R rows, (R, V). The rows of all
contexts are added to the logits of the head. With the table, the model learns from a few examples
which symbols follow a short context, and the recurrent layers learn the rest. (The rows are the
maximum-entropy features of Mikolov et al. 2011, "Strategies for training large scale neural network
language models".)

Two different contexts may share a row by chance. The model can still tell the two contexts apart by
the rows of contexts of other lengths.
"""

import zlib
from collections.abc import Sequence

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids

# Factor of multiplicative hashing: 2^64 divided by the golden ratio (Knuth 1998, section 6.4).
MULTIPLIER = 0x9E3779B97F4A7C15
CODE_BEFORE_TEXT = 0  # the code of the positions before the start of a text, which have no symbol


def symbol_codes(symbols: Sequence[str]) -> Ids:
    """Return the codes (1 + V,) that are hashed: CODE_BEFORE_TEXT, then a code for each symbol.

    A code depends on the symbol alone, not on its id. A model with another vocabulary can therefore
    copy the table.
    """
    codes = [CODE_BEFORE_TEXT]
    codes += [1 + zlib.crc32(symbol.encode("utf-8", "surrogatepass")) for symbol in symbols]
    return np.array(codes, np.uint64)


def context_rows(codes: Ids, steps: int, R: int) -> Ids:
    """Return the indices (steps * B, longest - 1) of the table rows of contexts.

    The contexts are those that end with one of the last `steps` symbols of a stream.
    codes (longest - 1 + steps, B): the codes of the symbols, oldest first.
    R: the number of rows of the table.
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
            rows[..., back - 1] = (mixed >> np.uint64(32)) * np.uint64(R) >> np.uint64(32)
    return rows.reshape(-1, longest - 1)


def table_gradient(rows: Ids, dlogits: Array, gradient: Array) -> None:
    """Overwrite the gradient (R, V) of the table.

    rows (N, n): the indices of the table rows of the n contexts of each prediction.
    dlogits (N, V): the gradient of the logits.
    """
    dlogits_of_contexts = np.repeat(dlogits, rows.shape[1], axis=0)
    kernels.sum_rows(rows.reshape(-1), dlogits_of_contexts, gradient)


# -- the symbols before a window -------------------------------------------------------------------
# The contexts of the first steps of a window begin in the window before it. The state (L, S, B, H)
# of a model with n-grams therefore has extra layers, which hold the last symbols as numbers.
# A symbol is held as its id plus one; 0 stands for a position before the start of the text.
# A state of zeros is therefore the state before a text.


def history_layers(longest: int, S: int, H: int) -> int:
    """Return the number of layers (S, B, H) of a state that hold symbols; 0 without n-grams."""
    return -(-max(0, longest - 1) // (S * H))


def read_history(state: Array, longest: int, V: int) -> Ids:
    """Return the last symbols as ids plus one, (longest - 1, B), oldest first.

    state: the layers of a state that hold symbols. Any numbers in these layers, even infinite ones,
        give valid ids.
    """
    B = state.shape[2]
    numbers = np.moveaxis(state, 2, 0).reshape(B, -1)[:, : longest - 1]
    history: Ids = np.rint(numbers.T).clip(0, V).astype(np.intp)
    return history


def history_codes(state: Array, longest: int, codes: Ids) -> Ids:
    """Return the codes (B, longest - 1) of the symbols that read_history reads, newest first."""
    if not longest:
        return np.empty((state.shape[2], 0), np.uint64)
    history: Ids = codes[read_history(state, longest, len(codes) - 1)][::-1].T
    return history


def write_history(history: Ids, state: Array) -> None:
    """Save the last symbols of a window in the state with which the next window starts.

    The contexts of the next window can then include symbols of the window before it.

    history (longest - 1, B): the ids of the symbols plus one, oldest first.
    """
    layers, S, B, H = state.shape
    numbers = np.zeros((B, layers * S * H), state.dtype)
    numbers[:, : len(history)] = history.T
    state[...] = np.moveaxis(numbers.reshape(B, layers, S, H), 0, 2)
