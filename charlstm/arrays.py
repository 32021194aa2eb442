"""The two kinds of array that go through the program, for type annotations."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]  # weights, activations, gradients: float32 or float64
Ids = NDArray[np.integer[Any]]  # symbols of the vocabulary
