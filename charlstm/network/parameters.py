"""All of a model's weights in one flat vector, with named views into it."""

import math
from collections.abc import Mapping

import numpy as np

from charlstm.arrays import Array
from charlstm.errors import CharlstmError

Shapes = Mapping[str, tuple[int, ...]]

NGRAM_TABLE = "ngrams.W"  # of which a step changes only a few rows


class Parameters(dict[str, Array]):
    """Named arrays that lie one after the other in `vector` (1-D, contiguous), all but TABLE.

    The names are fixed. `parameters[name][...] = x` and `parameters[name] = x` both write into
    the vector, so that clipping, the optimizer and averaging work on one array.
    """

    def __init__(self, shapes: Shapes, dtype: str) -> None:
        self.vector: Array = np.zeros(dense_size(shapes), dtype)
        start = 0
        for name, shape in shapes.items():
            if name == NGRAM_TABLE:
                array = np.zeros(shape, dtype)
            else:
                size = math.prod(shape)
                array = self.vector[start : start + size].reshape(shape)
                start += size
            super().__setitem__(name, array)

    def __setitem__(self, name: str, value: Array) -> None:
        if name not in self:
            raise CharlstmError(f"no parameter {name!r}: there are {', '.join(self)}")
        if np.shape(value) != self[name].shape:
            raise CharlstmError(
                f"{name} must have the shape {self[name].shape}, not {np.shape(value)}"
            )
        self[name][...] = value

    @property
    def count(self) -> int:
        """How many numbers these are."""
        return sum(array.size for array in self.values())

    def like(self) -> "Parameters":
        """Parameters of the same names and shapes, all zero: for gradients."""
        shapes = {name: array.shape for name, array in self.items()}
        return Parameters(shapes, self.vector.dtype.name)

    def like_vector(self) -> "Parameters":
        """The same without TABLE: for gradients of a step that changes only a few rows of it."""
        shapes = {name: array.shape for name, array in self.items() if name != NGRAM_TABLE}
        return Parameters(shapes, self.vector.dtype.name)

    def copy_from(self, other: "Parameters") -> None:
        """Take over the values of parameters of the same shapes, of this or another dtype."""
        for name, array in other.items():
            self[name][...] = array

    def share_table(self, other: "Parameters") -> None:
        """Have the very TABLE of other, if it has one."""
        if NGRAM_TABLE in other:
            super().__setitem__(NGRAM_TABLE, other[NGRAM_TABLE])

    def part(self, prefix: str) -> dict[str, Array]:
        """The views whose names begin with `prefix`, under the rest of their names."""
        return {name[len(prefix) :]: a for name, a in self.items() if name.startswith(prefix)}


def dense_size(shapes: Shapes) -> int:
    """The length of the vector of parameters of these shapes."""
    return sum(math.prod(shape) for name, shape in shapes.items() if name != NGRAM_TABLE)
