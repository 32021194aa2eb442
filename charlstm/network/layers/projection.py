"""The input projection of a recurrent layer: x Wx + b for all time steps of a window at once.

x is an array (T, B, D) of numbers, or an array (T, B) of ids, each of which stands for a one-hot
vector of length D. The product of a one-hot vector and Wx is a row of Wx, so ids select rows and
need no product. In a network with skip connections, each layer above the first also reads the
symbols (T, B): the projection is then x Wx + Wi[symbols] + b, with Wi (V, N). N is the number of
columns of Wx: H for each gate of the layer.
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

    precision: the precision of the operands of the product; rows that ids select are not rounded.
    """
    Wx, b = parameters["Wx"], parameters["b"]
    if x.ndim == 2:
        if x.size < len(Wx):
            np.take(Wx, x, axis=0, out=out, mode="clip")
            out += b
        else:  # Wx has no more rows than `out`, so adding b to Wx is faster than adding b to `out`
            np.take(Wx + b, x, axis=0, out=out, mode="clip")
        return
    if symbols is None:
        kernels.project(rows(x), Wx, rows(out), precision, b)
        return
    kernels.project(rows(x), Wx, rows(out), precision)
    Wi = parameters["Wi"]
    few = symbols.size < len(Wi)
    by_symbol = Wi if few else Wi + b
    # Each pass of the loop handles one time step, whose rows fit into the processor's cache.
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
    """Overwrite the gradients of Wx, b and, unless `symbols` is None, Wi.

    dout (T, B, N): the gradient of the projection.
    """
    dWx, db = gradients["Wx"], gradients["b"]
    if x.ndim == 2:
        kernels.sum_rows(x.reshape(-1), rows(dout), dWx)
        # The rows of dWx and of dout have the same sum: each row of dout was added to one of dWx.
        np.sum(dWx, axis=0, out=db)
        return
    kernels.weight_gradient(rows(x), rows(dout), dWx, precision)
    if symbols is None:
        np.sum(rows(dout), axis=0, out=db)
    else:
        kernels.sum_rows(symbols.reshape(-1), rows(dout), gradients["Wi"])
        np.sum(gradients["Wi"], axis=0, out=db)
