"""x Wx + b for a whole window at once: every product of a recurrent layer that is not recurrent.

x is either dense, (T, B, D) of the weights' dtype, or ids, (T, B) of integers that stand for
one-hot vectors of length D: those gather rows of Wx, and nobody multiplies by zeros. A layer with
Wi (V, N) sees symbols too, ids (T, B) beside a dense x: x Wx + Wi[symbols] + b.
"""

from collections.abc import Mapping

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.network.layers.recurrent import rows


def forward(
    parameters: Mapping[str, Array],
    x: Array | Ids,
    out: Array,
    precision: str,
    symbols: Ids | None = None,
) -> None:
    """Write x Wx + b into out (T, B, N), with Wx (D, N) and b (N).

    precision: of the product; a gather of rows is none and rounds nothing.
    """
    Wx, b = parameters["Wx"], parameters["b"]
    if x.ndim == 2:
        # b is added to the D rows once instead of to the T * B gathered ones
        np.take(Wx + b, x, axis=0, out=out, mode="clip")
        return
    if symbols is None:
        kernels.project(rows(x), Wx, rows(out), precision, b)
        return
    kernels.project(rows(x), Wx, rows(out), precision)
    by_symbol = parameters["Wi"] + b
    for step, ids in zip(out, symbols, strict=True):  # the rows of one step stay in the cache
        step += by_symbol[ids]


def backward(
    parameters: Mapping[str, Array], dout: Array, dx: Array | None, precision: str
) -> None:
    """Overwrite dx (T, B, D), if it is given; dout (T, B, N): the gradient of the projection."""
    if dx is not None:
        kernels.input_gradient(rows(dout), parameters["Wx"], rows(dx), precision)


def weight_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    dout: Array,
    precision: str,
    symbols: Ids | None = None,
) -> None:
    """Overwrite the gradients of Wx, b and Wi; dout (T, B, N): that of the projection."""
    dWx, db = gradients["Wx"], gradients["b"]
    if x.ndim == 2:
        kernels.sum_rows(x.reshape(-1), rows(dout), dWx)
        np.sum(dWx, axis=0, out=db)
        return
    kernels.weight_gradient(rows(x), rows(dout), dWx, precision)
    if symbols is None:
        np.sum(rows(dout), axis=0, out=db)
    else:
        kernels.sum_rows(symbols.reshape(-1), rows(dout), gradients["Wi"])
        np.sum(gradients["Wi"], axis=0, out=db)
