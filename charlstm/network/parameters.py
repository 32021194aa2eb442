"""The parameters of a model: their names and shapes, and one flat vector that holds them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.network.layers import head, layer_of

Shapes = Mapping[str, tuple[int, ...]]

NGRAM_TABLE = "ngrams.W"  # the name of the n-gram table


def parameter_shapes(config: ModelConfig, V: int) -> dict[str, tuple[int, ...]]:
    """Return the name and the shape of each parameter of a model of V symbols.

    The parameters are listed in the order in which Parameters.vector holds them.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for k in range(config.layers):
        layer = layer_of(config).shapes(config.hidden if k else V, config.hidden)
        if config.skip and k:
            layer["Wi"] = (V, layer["Wx"][1])
        shapes |= {f"layers.{k}.{name}": shape for name, shape in layer.items()}
    head_shapes = head.shapes(config.layers_seen * config.hidden, V)
    shapes |= {f"head.{name}": shape for name, shape in head_shapes.items()}
    if config.ngrams:
        shapes[NGRAM_TABLE] = (config.ngram_slots, V)
    return shapes


class Parameters(dict[str, Array]):
    """Named arrays, which lie one after the other in `vector` (1-D, contiguous).

    Only the n-gram table lies outside the vector, because a training step changes only a few rows
    of the table.

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
            raise CharlstmError(f"no parameter {name!r}: the parameters are {', '.join(self)}")
        if np.shape(value) != self[name].shape:
            raise CharlstmError(
                f"the parameter {name} must have the shape {self[name].shape}, "
                f"not {np.shape(value)}"
            )
        self[name][...] = value

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the arrays for `of`: default unpickling adds items, which __setitem__ refuses."""
        return Parameters.of, (dict(self),)

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "Parameters":
        """Return parameters with the names, shapes and values of `arrays`, which are copied."""
        dtypes = {array.dtype.name for array in arrays.values()}
        parameters = cls({name: array.shape for name, array in arrays.items()}, *dtypes)
        for name, array in arrays.items():
            parameters[name] = array
        return parameters

    @property
    def count(self) -> int:
        """The total number of elements of all parameter arrays."""
        return sum(array.size for array in self.values())

    def zeros_like(self) -> "Parameters":
        """Return parameters of the same names and shapes, all zero, to hold gradients."""
        shapes = {name: array.shape for name, array in self.items()}
        return Parameters(shapes, self.vector.dtype.name)

    def zeros_like_dense(self) -> "Parameters":
        """Return the same as zeros_like, but without the n-gram table, whose gradient is sparse."""
        shapes = {name: array.shape for name, array in self.items() if name != NGRAM_TABLE}
        return Parameters(shapes, self.vector.dtype.name)

    def copy_from(self, other: "Parameters") -> None:
        """Copy the values of other parameters of the same shapes, whose dtype may differ."""
        for name, array in other.items():
            self[name][...] = array

    def share_table(self, other: "Parameters") -> None:
        """If `other` has an n-gram table, use the same table here: both then share one array."""
        if NGRAM_TABLE in other:
            super().__setitem__(NGRAM_TABLE, other[NGRAM_TABLE])

    def part(self, prefix: str) -> dict[str, Array]:
        """Return views of the parameters that begin with `prefix`, by the rest of their names."""
        return {name[len(prefix) :]: a for name, a in self.items() if name.startswith(prefix)}


def dense_size(shapes: Shapes) -> int:
    """Return the length of the vector of parameters of these shapes, without the n-gram table."""
    return sum(math.prod(shape) for name, shape in shapes.items() if name != NGRAM_TABLE)
