"""Compact weights: the parameters of a model in 8, 16 or 32 bits each, as bytes.

In 8 bits, each row of a matrix is a row of whole numbers, times a number of the row: its scale.
Vectors, such as biases, keep 32 bits. Rows of zeros, such as those of the n-gram table that no
training step has used, are left out.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from charlstm.arrays import Array
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE

Weights = Literal["int8", "float16", "float32"]
WEIGHTS: tuple[str, ...] = get_args(Weights)
LARGEST_FLOAT16 = 65_504.0
# The largest whole number of a row with int8. The table of n-grams is much the largest matrix, and
# several of its rows are added up for a prediction: smaller numbers cost next to nothing there, and
# compress to less.
LARGEST_NUMBER, LARGEST_NUMBER_IN_TABLE = 127, 31


@dataclass(frozen=True)
class CompactModel:
    """A model whose weights are stored in fewer bits.

    weights: the kind of numbers, one of WEIGHTS.
    arrays: the bytes of each parameter, by name, in the order of the parameters. A matrix of R rows
        begins with R bits, in (R + 7) // 8 bytes, lowest bit first: 1 for a row that is stored, 0
        for a row of zeros. With int8, the scale of each stored row follows, as float16. Then the
        numbers of the stored rows follow, column by column: the numbers of a column are alike, and
        compress better. All numbers are little-endian.
    model: the model that these bytes stand for, in float32.
    """

    weights: Weights
    arrays: dict[str, bytes]
    model: CharModel


def compact(model: CharModel, weights: Weights) -> CompactModel:
    """Store the weights of a model in fewer bits."""
    stored = CharModel(replace(model.config, dtype="float32"), model.vocab, seed=None)
    arrays = {}
    for name, array in model.parameters.items():
        if array.ndim == 1:
            kind = "float16" if weights == "float16" else "float32"
            arrays[name], stored.parameters[name] = _float_bytes(array, kind)
            continue
        is_stored = array.any(axis=1)
        if weights == "int8":
            largest = LARGEST_NUMBER_IN_TABLE if name == NGRAM_TABLE else LARGEST_NUMBER
            encoded, rows = _int8_bytes(array[is_stored], largest)
        else:
            encoded, rows = _float_bytes(array[is_stored], weights)
        arrays[name] = np.packbits(is_stored, bitorder="little").tobytes() + encoded
        stored.parameters[name][is_stored] = rows
    return CompactModel(weights, arrays, stored)


def _int8_bytes(rows: Array, largest: int) -> tuple[bytes, Array]:
    """Return the scales and whole numbers of rows as bytes, and the rows that they stand for."""
    scales = np.abs(rows).max(axis=1, initial=0) / largest
    scales = scales.clip(max=LARGEST_FLOAT16).astype("<f2")
    factors = scales.astype(np.float32)[:, None]
    divisors = np.where(factors > 0, factors, 1)  # A row of tiny numbers has the scale 0.
    numbers = np.rint(rows / divisors).clip(-largest, largest).astype(np.int8)
    return scales.tobytes() + numbers.tobytes("F"), numbers * factors


def _float_bytes(array: Array, kind: str) -> tuple[bytes, Array]:
    """Return the numbers of a vector or of rows as bytes, and the numbers that these stand for."""
    if kind == "float16":
        rounded = array.clip(-LARGEST_FLOAT16, LARGEST_FLOAT16).astype("<f2")
    else:
        rounded = array.astype("<f4")
    return rounded.tobytes("F"), rounded.astype(np.float32)
