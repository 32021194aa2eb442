"""All of a model's weights in one flat vector, with named views into it."""

from collections.abc import Mapping

import numpy as np

from .arrays import Array
from .errors import CharlstmError

Shapes = Mapping[str, tuple[int, ...]]


class Parameters(dict[str, Array]):
    """Named arrays that lie one after the other in `vector` (1-D, contiguous).

    The names are fixed. `parameters[name][...] = x` and `parameters[name] = x` both write into
    the vector, so that clipping, the optimizer and the checkpoint work on one array.
    """

    def __init__(self, shapes: Shapes, dtype: str) -> None:
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        self.vector: Array = np.zeros(sum(sizes), dtype)
        start = 0
        for (name, shape), size in zip(shapes.items(), sizes, strict=True):
            super().__setitem__(name, self.vector[start : start + size].reshape(shape))
            start += size

    def __setitem__(self, name: str, value: Array) -> None:
        if name not in self:
            raise CharlstmError(f"no parameter {name!r}: there are {', '.join(self)}")
        if np.shape(value) != self[name].shape:
            raise CharlstmError(
                f"{name} must have the shape {self[name].shape}, not {np.shape(value)}"
            )
        self[name][...] = value

    def like(self) -> "Parameters":
        """Parameters of the same names and shapes, all zero: for gradients."""
        shapes = {name: array.shape for name, array in self.items()}
        return Parameters(shapes, self.vector.dtype.name)

    def part(self, prefix: str) -> dict[str, Array]:
        """The views whose names begin with `prefix`, under the rest of their names."""
        return {name[len(prefix) :]: a for name, a in self.items() if name.startswith(prefix)}
