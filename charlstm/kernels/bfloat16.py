"""The operands of matrix products in NumPy: rounded where that is asked, in blocks where it pays.

At precision "bfloat16" both operands of a product are rounded to bfloat16, a float32 cut to the
8 bits of its significand that AMX tiles multiply; the product is then one of float32 numbers. At
precision "float32" the operands are taken as they are, so that float64 too stays what it is.
"""

import numpy as np

from charlstm.arrays import Array

# One product of a time step has few rows (the streams of one worker). OpenBLAS runs such a product
# half as fast again on column blocks of this width that lie contiguous in memory.
BLOCK_COLUMNS = 64
WORTH_BLOCKING = 8  # steps: below that, the copy costs more than it saves


def round_to_bfloat16(array: Array) -> Array:
    """The nearest bfloat16 of each float32, as float32; of two equally near the even one.

    NaN stays NaN and infinities stay; what lies beyond the largest bfloat16 becomes infinite, as
    in every rounding to nearest. Raises ValueError for another dtype than float32.
    """
    if array.dtype != np.float32:
        raise ValueError(f"only float32 is rounded to bfloat16, not {array.dtype}")
    bits = array.view(np.uint32)
    # A bfloat16 is the upper half of a float32. Half of its last place, less one bit where it is
    # even, carries into it exactly where the lower half says to round up.
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded &= 0xFFFF0000
    nearest: Array = rounded.view(np.float32)
    nearest[np.isnan(array)] = np.nan  # whose bits may have been carried beyond all exponents
    return nearest


def operand(array: Array, precision: str) -> Array:
    """The array as a product takes it at this precision."""
    return round_to_bfloat16(array) if precision == "bfloat16" else array


def column_blocks(W: Array, T: int) -> Array:
    """W (K, N) as column blocks (N / width, K, width), contiguous where T steps are worth it."""
    K, N = W.shape
    if T < WORTH_BLOCKING:
        return W[None]
    width = BLOCK_COLUMNS if N % BLOCK_COLUMNS == 0 else N
    return np.ascontiguousarray(W.reshape(K, N // width, width).swapaxes(0, 1))


class ThroughRecurrentWeights:
    """dh = da Wh^T, step after step, for da (B, G H) and Wh (H, G H).

    The sum over all gates is cut into one for each gate, which OpenBLAS finds faster too.
    """

    def __init__(self, Wh: Array, B: int, T: int, precision: str) -> None:
        H, N = Wh.shape
        gates = N // H if T >= WORTH_BLOCKING else 1
        by_gate = operand(Wh, precision).reshape(H, gates, N // gates)
        blocks = [column_blocks(by_gate[:, g].T, T) for g in range(gates)]
        self._blocks = np.stack(blocks) if gates > 1 else blocks[0][None]
        self._shape = (B, gates, N // gates)
        self._precision = precision
        width = self._blocks.shape[-1]
        self._products = np.empty((gates, H // width, B, width), Wh.dtype)
        self._sum = np.empty((H // width, B, width), Wh.dtype)

    def __call__(self, da: Array) -> Array:
        """da Wh^T as (B, blocks, width): the columns of (B, H) in their order. Overwritten next."""
        gates_first = operand(da, self._precision).reshape(self._shape).swapaxes(0, 1)
        np.matmul(gates_first[:, None], self._blocks, out=self._products)
        np.add.reduce(self._products, axis=0, out=self._sum)
        in_order: Array = self._sum.swapaxes(0, 1)
        return in_order
