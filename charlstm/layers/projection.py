"""x Wx + b for a whole window at once: every product of a recurrent layer that is not recurrent.

x is either dense, (T, B, D) of the weights' dtype, or ids, (T, B) of integers that stand for
one-hot vectors of length D: those gather rows of Wx, and nobody multiplies by zeros.
"""

from collections.abc import Mapping

import numpy as np

from .. import kernels
from ..arrays import Array, Ids
from .recurrent import rows


def projection_forward(
    parameters: Mapping[str, Array], x: Array | Ids, out: Array, precision: str
) -> None:
    """Write x Wx + b into out (T, B, N), with Wx (D, N) and b (N).

    precision: of the product; a gather of rows is none and rounds nothing.
    """
    Wx, b = parameters["Wx"], parameters["b"]
    if x.ndim == 2:
        # b is added to the D rows once instead of to the T * B gathered ones
        np.take(Wx + b, x, axis=0, out=out, mode="clip")
    else:
        kernels.project(rows(x), Wx, rows(out), precision)
        out += b


def projection_backward(
    parameters: Mapping[str, Array],
    gradients: Mapping[str, Array],
    x: Array | Ids,
    dout: Array,
    dx: Array | None,
    precision: str,
) -> None:
    """Overwrite the gradients of Wx and b and, if it is given, dx (T, B, D), for dout (T, B, N)."""
    dWx, db = gradients["Wx"], gradients["b"]
    if x.ndim == 2:
        kernels.sum_rows(x.reshape(-1), rows(dout), dWx)
        np.sum(dWx, axis=0, out=db)
        return
    kernels.weight_gradient(rows(x), rows(dout), dWx, precision)
    np.sum(rows(dout), axis=0, out=db)
    if dx is not None:
        kernels.input_gradient(rows(dout), parameters["Wx"], rows(dx), precision)
