"""Types and checks of arrays: Array for floating-point numbers, Ids for ids of symbols."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlstm.errors import CharlstmError

Array = NDArray[Any]  # weights, activations, gradients: float32 or float64
Ids = NDArray[Any]  # ids of symbols of a vocabulary: integers


def require_shape(name: str, array: Array, expected: tuple[int | str, ...]) -> None:
    """Raise CharlstmError if an array does not have the expected shape.

    A letter in the expected shape, such as "T", stands for any size.
    """
    found = np.shape(array)
    fits = len(found) == len(expected) and all(
        isinstance(want, str) or want == size for want, size in zip(expected, found, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, expected)) + "," * (len(expected) == 1)
        raise CharlstmError(f"`{name}` must be of shape ({wanted}), not {found}")


def require_float(name: str, array: Array) -> None:
    """Raise CharlstmError for an array of a type other than floating-point numbers."""
    dtype = np.asarray(array).dtype
    if not np.issubdtype(dtype, np.floating):
        raise CharlstmError(f"`{name}` must hold floating-point numbers, not {dtype}")


def all_finite(array: Array) -> bool:
    """Return whether an array has no infinity and no NaN, without allocating another array."""
    # If any number is NaN, both the minimum and the maximum are NaN.
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
