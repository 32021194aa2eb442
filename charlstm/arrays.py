"""Types and checks of arrays: Array for floating-point numbers, Ids for ids of symbols."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from charlstm.errors import ArgumentError, shown

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
        raise ArgumentError(f"`{name}` must be of shape ({wanted}), not {found}")


def checked_ids(name: str, ids: ArrayLike, shape: tuple[str, ...], size: int) -> Ids:
    """Return an argument as an array of ids; CharlstmError if it is none, or of another shape.

    name: the name of the argument, for the message. shape: a letter for each dimension, such as
    ("T", "B"). size: the number of symbols of the vocabulary; ids are 0 to size - 1.
    """
    try:
        array: Ids = np.asarray(ids)
    except (TypeError, ValueError):  # for example, for lists of different lengths
        raise ArgumentError(f"`{name}` must be an array, not {shown(ids)}") from None
    require_shape(name, array, shape)
    if not array.size:
        return array.astype(np.intp)
    if not np.issubdtype(array.dtype, np.integer):
        raise ArgumentError(f"`{name}` must be whole numbers, not {array.dtype}")
    low, high = array.min(), array.max()
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise ArgumentError(f"`{name}` must be 0 to {size - 1}, not {wrong}")
    return array


def require_float(name: str, array: Array) -> None:
    """Raise CharlstmError for an array of a type other than floating-point numbers."""
    dtype = np.asarray(array).dtype
    if not np.issubdtype(dtype, np.floating):
        raise ArgumentError(f"`{name}` must hold floating-point numbers, not {dtype}")


def all_finite(array: Array) -> bool:
    """Return whether an array has no infinity and no NaN, without allocating another array."""
    # If any number is NaN, both the minimum and the maximum are NaN.
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
