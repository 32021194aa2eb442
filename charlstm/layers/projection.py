"""x Wx + b for a whole window at once: every product of a recurrent layer that is not recurrent.

x is either dense, (T, B, D) of the weights' dtype, or ids, (T, B) of integers that stand for
one-hot vectors of length D: those gather rows of Wx, and nobody multiplies by zeros.
"""

from collections.abc import Mapping

import numpy as np

from ..arrays import Array, Ids
from .recurrent import rows


def projection_forward(parameters: Mapping[str, Array], x: Array | Ids, out: Array) -> None:
    """Write x Wx + b into out (T, B, N), with Wx (D, N) and b (N)."""
    Wx, b = parameters["Wx"], parameters["b"]
    if x.ndim == 2:
        # b is added to the D rows once instead of to the T * B gathered ones
        np.take(Wx + b, x, axis=0, out=out, mode="clip")
    else:
        np.matmul(rows(x), Wx, out=rows(out))
        out += b


def projection_backward(
    parameters: Mapping[str, Array],
    gradients: Mapping[str, Array],
    x: Array | Ids,
    dout: Array,
    dx: Array | None,
) -> None:
    """Overwrite the gradients of Wx and b and, if it is given, dx (T, B, D), for dout (T, B, N)."""
    dWx, db = gradients["Wx"], gradients["b"]
    if x.ndim == 2:
        _sum_by_id(x.reshape(-1), rows(dout), dWx)
        np.sum(dWx, axis=0, out=db)
        return
    np.matmul(rows(x).T, rows(dout), out=dWx)
    np.sum(rows(dout), axis=0, out=db)
    if dx is not None:
        np.matmul(rows(dout), parameters["Wx"].T, out=rows(dx))


def _sum_by_id(ids: Ids, rows: Array, sums: Array) -> None:
    """sums[k] = the sum of the rows whose id is k: the transpose of a gather."""
    sums[...] = 0
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
        rows[order[start:stop]].sum(axis=0, out=sums[ordered[start]])
