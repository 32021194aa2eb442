"""x Wx + b for a whole window at once: every product of a recurrent layer that is not recurrent.

x is either dense, (T, B, D) of the weights' dtype, or ids, (T, B) of integers that stand for
one-hot vectors of length D: those gather rows of Wx, and nobody multiplies by zeros.
"""

import numpy as np

from ..arrays import Array, Ids


def projection_forward(x: Array | Ids, Wx: Array, b: Array, out: Array) -> None:
    """Write x Wx + b into out (T, B, N), with Wx (D, N) and b (N)."""
    if x.ndim == 2:
        # b is added to the D rows once instead of to the T * B gathered ones
        np.take(Wx + b, x, axis=0, out=out, mode="clip")
    else:
        np.matmul(_rows(x), Wx, out=_rows(out))
        out += b


def projection_backward(
    x: Array | Ids, dout: Array, Wx: Array, dWx: Array, db: Array, dx: Array | None
) -> None:
    """Gradients for dout (T, B, N): dWx, db and, where x is dense and dx is given, dx (T, B, D)."""
    rows = _rows(dout)
    if x.ndim == 2:
        _sum_by_id(x.reshape(-1), rows, dWx)
        np.sum(dWx, axis=0, out=db)
        return
    np.matmul(_rows(x).T, rows, out=dWx)
    np.sum(rows, axis=0, out=db)
    if dx is not None:
        np.matmul(rows, Wx.T, out=_rows(dx))


def _rows(x: Array | Ids) -> Array:
    return x.reshape(-1, x.shape[-1])


def _sum_by_id(ids: Ids, rows: Array, sums: Array) -> None:
    """sums[k] = the sum of the rows whose id is k: the transpose of a gather."""
    sums[...] = 0
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(ids)], strict=True):
        rows[order[start:stop]].sum(axis=0, out=sums[ordered[start]])
