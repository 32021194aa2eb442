"""The input projection of a recurrent layer: x Wx + b for all time steps of a window at once.

x is dense, (T, B, D), or ids (T, B) in place of one-hot vectors of length D. A product with a
one-hot vector is a row of Wx, so ids gather rows and need no product. In a network with skip
connections, a layer also reads the symbols (T, B) themselves: x Wx + Wi[symbols] + b, with Wi (V,
N). Here N is the number of columns of Wx: H for each of the layer's gates.
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

    precision: the precision of the operands of the product; rows chosen by ids are not rounded.
    """
    Wx, b = parameters["Wx"], parameters["b"]
    if x.ndim == 2:
        if x.size < len(Wx):
            np.take(Wx, x, axis=0, out=out, mode="clip")
            out += b
        else:  # b is added to all rows of Wx, as these are fewer than the rows chosen by ids
            np.take(Wx + b, x, axis=0, out=out, mode="clip")
        return
    if symbols is None:
        kernels.project(rows(x), Wx, rows(out), precision, b)
        return
    kernels.project(rows(x), Wx, rows(out), precision)
    Wi = parameters["Wi"]
    few = symbols.size < len(Wi)
    by_symbol = Wi if few else Wi + b
    # The loop goes over time steps, because the rows of one step fit into the processor's cache.
    for step, ids in zip(out, symbols, strict=True):
        step += by_symbol[ids] + b if few else by_symbol[ids]


def backward(
    parameters: Mapping[str, Array], dout: Array, dx: Array | None, precision: str
) -> None:
    """Overwrite dx (T, B, D) with the gradient of x, unless dx is None.

    dout (T, B, N): the gradient of the projection.
    """
    if dx is not None:
        kernels.input_gradient(rows(dout), parameters["Wx"], rows(dx), precision)


def weight_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    dout: Array,
    precision: str,
    symbols: Ids | None = None,
) -> None:
    """Overwrite the gradients of Wx, b and, if there are symbols, Wi.

    dout (T, B, N): the gradient of the projection.
    """
    dWx, db = gradients["Wx"], gradients["b"]
    if x.ndim == 2:
        kernels.sum_rows(x.reshape(-1), rows(dout), dWx)
        # dWx and dout have equal sums, as each row of dout was added to exactly one row of dWx.
        np.sum(dWx, axis=0, out=db)
        return
    kernels.weight_gradient(rows(x), rows(dout), dWx, precision)
    if symbols is None:
        np.sum(rows(dout), axis=0, out=db)
    else:
        kernels.sum_rows(symbols.reshape(-1), rows(dout), gradients["Wi"])
        np.sum(gradients["Wi"], axis=0, out=db)
