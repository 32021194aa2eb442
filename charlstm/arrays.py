"""The two kinds of array that go through the program, by name, and checks of what callers pass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlstm.errors import CharlstmError

Array = NDArray[Any]  # weights, activations, gradients: float32 or float64
Ids = NDArray[Any]  # symbols of the vocabulary: whole numbers


def require_shape(name: str, array: Array, expected: tuple[int | str, ...]) -> None:
    """Refuse an array whose shape is not as expected; a letter in it stands for any size."""
    found = np.shape(array)
    fits = len(found) == len(expected) and all(
        isinstance(want, str) or want == size for want, size in zip(expected, found, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, expected)) + "," * (len(expected) == 1)
        raise CharlstmError(f"{name} must be of shape ({wanted}), not {found}")


def require_float(name: str, array: Array) -> None:
    """Refuse an array that does not hold floating-point numbers."""
    dtype = np.asarray(array).dtype
    if not np.issubdtype(dtype, np.floating):
        raise CharlstmError(f"{name} must hold floating-point numbers, not {dtype}")


def all_finite(array: Array) -> bool:
    """Whether no number in an array is infinite or NaN; without an array of answers beside it."""
    # a NaN becomes both the smallest and the largest
    return bool(np.isfinite(array.min()) and np.isfinite(array.max()))
