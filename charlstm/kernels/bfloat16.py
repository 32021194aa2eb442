"""The operands of NumPy's matrix products: rounded to bfloat16, and in contiguous blocks.

At precision "bfloat16", both operands of a product are rounded to bfloat16, a float32 with 8
significant bits instead of 24, and then multiplied as float32 numbers, as the instructions of AMX
and AVX512-BF16 do. At precision "float32" the operands are used as they are, float64 included.
"""

import numpy as np

from charlstm.arrays import Array

# The product of a time step has few rows (the streams of one worker). OpenBLAS computes it 1.5
# times as fast on column blocks of this width that are contiguous in memory.
BLOCK_COLUMNS = 64
MIN_STEPS_TO_PACK = 8  # time steps: for fewer, rearranging the weights costs more than it saves


def round_to_bfloat16(array: Array) -> Array:
    """The bfloat16 nearest to each float32, as float32; ties go to the even one.

    NaN and infinity stay as they are; a number beyond the largest bfloat16 becomes infinite, as in
    every rounding to nearest. Raises ValueError for any dtype but float32.
    """
    if array.dtype != np.float32:
        raise ValueError(f"only float32 is rounded to bfloat16, not {array.dtype}")
    bits = array.view(np.uint32)
    # A bfloat16 is the upper half of a float32. Adding half of its last place, less one if that
    # place is even, carries into it exactly if the lower half rounds up.
    rounded = bits >> 16
    rounded &= 1
    rounded += 0x7FFF
    rounded += bits
    rounded &= 0xFFFF0000
    nearest: Array = rounded.view(np.float32)
    nearest[np.isnan(array)] = np.nan  # the carry may have made another number of it
    return nearest


def operand(array: Array, precision: str) -> Array:
    """The array as an operand of a product at this precision."""
    return round_to_bfloat16(array) if precision == "bfloat16" else array


def column_blocks(W: Array, T: int) -> Array:
    """W (K, N) as column blocks (N / width, K, width), contiguous if T steps are worth the copy."""
    K, N = W.shape
    if T < MIN_STEPS_TO_PACK:
        return W[None]
    width = BLOCK_COLUMNS if N % BLOCK_COLUMNS == 0 else N
    return np.ascontiguousarray(W.reshape(K, N // width, width).swapaxes(0, 1))


class RecurrentGradient:
    """dh = da Wh^T, once per time step, for da (B, G H) and Wh (H, G H) of G gates.

    The sum over the columns of all gates is computed gate by gate, which OpenBLAS does faster.
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
        """da Wh^T as (B, H / width, width): (B, H) in blocks. The next call overwrites it."""
        gates_first = operand(da, self._precision).reshape(self._shape).swapaxes(0, 1)
        np.matmul(gates_first[:, None], self._blocks, out=self._products)
        np.add.reduce(self._products, axis=0, out=self._sum)
        in_order: Array = self._sum.swapaxes(0, 1)
        return in_order
