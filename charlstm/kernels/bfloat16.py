"""The operands of matrix products in NumPy: rounding to bfloat16, and contiguous blocks.

At precision "bfloat16", both operands of a product are rounded to bfloat16: a float32 with 8
significant bits instead of 24. The rounded operands are multiplied as float32 numbers, as the
instructions of AMX and AVX512-BF16 do. At precision "float32", operands of float32 or float64 are
not rounded.
"""

import numpy as np

from charlstm.arrays import Array

# Number of columns of the blocks that weights are split into. The product of a time step has few
# rows (the streams of one worker). OpenBLAS computes such a product 1.5 times as fast if each block
# of the weights is contiguous in memory.
BLOCK_COLUMNS = 64
# Minimum number of time steps in a window for which weights are rearranged into blocks or panels.
# In a shorter window, rearranging the weights costs more time than it saves.
MIN_STEPS_TO_PACK = 8


def round_to_bfloat16(array: Array) -> Array:
    """Return the bfloat16 nearest to each float32, as float32; ties go to an even last bit.

    NaN and infinity stay as they are; a number beyond the largest bfloat16 becomes infinite, as in
    every rounding to nearest. Raises ValueError for any dtype but float32.
    """
    if array.dtype != np.float32:
        raise ValueError(f"only float32 is rounded to bfloat16, not {array.dtype}")
    bits = array.view(np.uint32)
    # A bfloat16 is the upper half of a float32's bits. The sum with 0x7FFF, plus 1 if the last bit
    # of the upper half is set, carries into the upper half exactly if the number is rounded up.
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded &= 0xFFFF0000
    nearest: Array = rounded.view(np.float32)
    nearest[np.isnan(array)] = np.nan  # the carry may have turned NaN into another number
    return nearest


def operand(array: Array, precision: str) -> Array:
    """Return the array as an operand of a product at a precision: rounded or unchanged."""
    return round_to_bfloat16(array) if precision == "bfloat16" else array


def column_blocks(W: Array, T: int) -> Array:
    """Return W (K, N) as blocks of columns, (N / width, K, width).

    T: the number of time steps of the window. If T is MIN_STEPS_TO_PACK or more, each block is
        copied to be contiguous. In a shorter window, W itself is the only block.
    """
    K, N = W.shape
    if T < MIN_STEPS_TO_PACK:
        return W[None]
    width = BLOCK_COLUMNS if N % BLOCK_COLUMNS == 0 else N
    return np.ascontiguousarray(W.reshape(K, N // width, width).swapaxes(0, 1))


class RecurrentGradient:
    """Computes dh = da Wh^T in each time step, for da (B, G * H) and Wh (H, G * H) of G gates.

    OpenBLAS computes one product per gate and their sum faster than one large product.
    """

    def __init__(self, Wh: Array, B: int, T: int, precision: str) -> None:
        H, N = Wh.shape
        gates = N // H if T >= MIN_STEPS_TO_PACK else 1
        by_gate = operand(Wh, precision).reshape(H, gates, N // gates)
        blocks = [column_blocks(by_gate[:, g].T, T) for g in range(gates)]
        self._blocks = np.stack(blocks) if gates > 1 else blocks[0][None]
        self._shape = (B, gates, N // gates)
        self._precision = precision
        width = self._blocks.shape[-1]
        self._products = np.empty((gates, H // width, B, width), Wh.dtype)
        self._sum = np.empty((H // width, B, width), Wh.dtype)

    def __call__(self, da: Array) -> Array:
        """Return da Wh^T in blocks, (B, H / width, width); the next call overwrites the result."""
        gates_first = operand(da, self._precision).reshape(self._shape).swapaxes(0, 1)
        np.matmul(gates_first[:, None], self._blocks, out=self._products)
        np.add.reduce(self._products, axis=0, out=self._sum)
        in_order: Array = self._sum.swapaxes(0, 1)
        return in_order
