"""The two kinds of array that go through the program, by name: NumPy's own types do not tell."""

from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]  # weights, activations, gradients: float32 or float64
Ids = NDArray[Any]  # symbols of the vocabulary: whole numbers
