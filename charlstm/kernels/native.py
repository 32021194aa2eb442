"""The native kernels, called through ctypes, which releases the interpreter lock meanwhile.

Each is the twin of the function of its name in reference.py, which serves what they do not take:
float64, windows too short to be worth packing for, bfloat16 where no instruction multiplies it, and
the GRU's and the RNN's recurrence in bfloat16.
"""

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.kernels import reference
from charlstm.kernels.native_library import (
    address,
    bfloat16_set,
    float32_set,
    scratch,
    typed_function,
    width,
)

_ADAM_CONSTANTS = ("beta1", "beta2", "step_size", "root_correction", "epsilon", "kept")

# Where our products were measured to beat OpenBLAS's: with AVX-512, for results of so many columns.
# The head's few would leave half of a panel empty.
WIDE = 128


def _way(array: Array, precision: str, T: int = reference.WORTH_BLOCKING) -> str | None:
    """The instruction set that takes products of this precision, or None: the reference does."""
    if array.dtype != np.float32 or reference.WORTH_BLOCKING > T:
        return None
    return bfloat16_set() if precision == "bfloat16" else float32_set()


def _padded(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _room_for_bfloat16(rows: int, K: int, columns: int) -> int:
    """Bytes for twice so many rows of an operand, and a panel for every 64 columns."""
    whole_tiles = _padded(rows, 16) + 32  # what fills the last block too
    return 2 * _padded(K, 32) * (2 * whole_tiles + _padded(columns, 64)) + 3 * 64


def lstm_forward(
    gates: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    Wh: Array,
    precision: str = "float32",
    capped: bool = False,
) -> None:
    """The twin of reference.lstm_forward, which serves float64 and short windows."""
    T, B, H = tanh_c.shape
    isa = _way(gates, precision, T)
    if isa is None:
        reference.lstm_forward(gates, h, c, tanh_c, Wh, precision, capped)
        return
    name, room = "lstm_forward", 4 * (H + 16) * 4 * H
    if precision == "bfloat16":
        name, room = "lstm_forward_bfloat16", _room_for_bfloat16(B, H, 4 * _padded(H, 16))
    typed_function(name, 3, 1, 6, isa)(
        T,
        B,
        H,
        capped,
        address(gates, T, B, 4 * H),
        address(h, T + 1, B, H),
        address(c, T + 1, B, H),
        address(tanh_c, T, B, H),
        address(Wh, H, 4 * H),
        scratch.address(room),
    )


def lstm_backward(
    gates: Array,
    dh: Array,
    dc: Array,
    dh_out: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    Wh: Array,
    precision: str = "float32",
    capped: bool = False,
) -> None:
    """The twin of reference.lstm_backward."""
    T, B, H = tanh_c.shape
    isa = _way(gates, precision, T)
    if isa is None:
        reference.lstm_backward(gates, dh, dc, dh_out, h, c, tanh_c, Wh, precision, capped)
        return
    name, room = "lstm_backward", 4 * (H + 64) * 4 * H
    if precision == "bfloat16":
        name, room = "lstm_backward_bfloat16", _room_for_bfloat16(B, 4 * H, H)
    typed_function(name, 3, 1, 8, isa)(
        T,
        B,
        H,
        capped,
        address(gates, T, B, 4 * H),
        address(dh, B, H),
        address(dc, B, H),
        address(dh_out, T, B, H),
        address(c, T + 1, B, H),
        address(tanh_c, T, B, H),
        address(Wh, H, 4 * H),
        scratch.address(room),
    )


def gru_forward(
    gates: Array, h: Array, candidate: Array, Wh: Array, bn: Array, precision: str = "float32"
) -> None:
    """The twin of reference.gru_forward."""
    T, B, H = candidate.shape
    if precision == "bfloat16" or _way(gates, precision, T) is None:
        reference.gru_forward(gates, h, candidate, Wh, bn, precision)
        return
    typed_function("gru_forward", 3, 0, 6)(
        T,
        B,
        H,
        address(gates, T, B, 3 * H),
        address(h, T + 1, B, H),
        address(candidate, T, B, H),
        address(Wh, H, 3 * H),
        address(bn, H),
        scratch.address(4 * (H + 64) * 3 * H),
    )


def gru_backward(
    gates: Array,
    dh: Array,
    dh_out: Array,
    h: Array,
    candidate: Array,
    Wh: Array,
    precision: str = "float32",
) -> None:
    """The twin of reference.gru_backward."""
    T, B, H = candidate.shape
    if precision == "bfloat16" or _way(gates, precision, T) is None:
        reference.gru_backward(gates, dh, dh_out, h, candidate, Wh, precision)
        return
    typed_function("gru_backward", 3, 0, 7)(
        T,
        B,
        H,
        address(gates, T, B, 3 * H),
        address(dh, B, H),
        address(dh_out, T, B, H),
        address(h, T + 1, B, H),
        address(candidate, T, B, H),
        address(Wh, H, 3 * H),
        scratch.address(4 * (H + 64) * 3 * H),
    )


def rnn_forward(a: Array, h: Array, Wh: Array, precision: str = "float32") -> None:
    """The twin of reference.rnn_forward."""
    T, B, H = a.shape
    if precision == "bfloat16" or _way(a, precision, T) is None:
        reference.rnn_forward(a, h, Wh, precision)
        return
    addresses = address(a, T, B, H), address(h, T + 1, B, H), address(Wh, H, H)
    room = scratch.address(4 * (H + 64) * H)
    typed_function("rnn_forward", 3, 0, 4)(T, B, H, *addresses, room)


def rnn_backward(
    a: Array, dh: Array, dh_out: Array, h: Array, Wh: Array, precision: str = "float32"
) -> None:
    """The twin of reference.rnn_backward."""
    T, B, H = a.shape
    if precision == "bfloat16" or _way(a, precision, T) is None:
        reference.rnn_backward(a, dh, dh_out, h, Wh, precision)
        return
    typed_function("rnn_backward", 3, 0, 6)(
        T,
        B,
        H,
        address(a, T, B, H),
        address(dh, B, H),
        address(dh_out, T, B, H),
        address(h, T + 1, B, H),
        address(Wh, H, H),
        scratch.address(4 * (H + 64) * H),
    )


def multiply(
    A: Array,
    B: Array,
    C: Array,
    *,
    transpose_A: bool = False,
    transpose_B: bool = False,
    precision: str = "float32",
    b: Array | None = None,
) -> None:
    """C (M, N) = A B + b (N) over K terms, A or B transposed; all contiguous float32."""
    M, N = C.shape
    K = A.shape[0] if transpose_A else A.shape[1]
    name, room = "multiply", 4 * 64 * K
    if precision == "bfloat16":
        name, room = "multiply_bfloat16", _room_for_bfloat16(M, K, 64)
    typed_function(name, 3, 2, 5, _way(C, precision))(
        M,
        N,
        K,
        transpose_A,
        transpose_B,
        address(A, *((K, M) if transpose_A else (M, K))),
        address(B, *((N, K) if transpose_B else (K, N))),
        None if b is None else address(b, N),
        address(C, M, N),
        scratch.address(room),
    )


def _multiplies(C: Array, precision: str) -> bool:
    """Whether to take our products for a result C (M, N), and not BLAS."""
    if precision == "bfloat16":
        return _way(C, precision) is not None
    return C.shape[1] >= WIDE and _way(C, precision) == "avx512"


def project(
    x: Array, W: Array, out: Array, precision: str = "float32", b: Array | None = None
) -> None:
    """The twin of reference.project."""
    if _multiplies(out, precision):
        multiply(x, W, out, precision=precision, b=b)
    else:
        reference.project(x, W, out, precision, b)


def weight_gradient(x: Array, dout: Array, dW: Array, precision: str = "float32") -> None:
    """The twin of reference.weight_gradient."""
    if _multiplies(dW, precision):
        multiply(x, dout, dW, transpose_A=True, precision=precision)
    else:
        reference.weight_gradient(x, dout, dW, precision)


def input_gradient(dout: Array, W: Array, dx: Array, precision: str = "float32") -> None:
    """The twin of reference.input_gradient."""
    if _multiplies(dx, precision):
        multiply(dout, W, dx, transpose_B=True, precision=precision)
    else:
        reference.input_gradient(dout, W, dx, precision)


def _checked_ids(ids: Ids, V: int) -> Ids:
    """The same ids, contiguous and in 64 bits; C would not notice one that is too large."""
    if ids.size and not 0 <= ids.min() <= ids.max() < V:
        raise ValueError(f"ids must be 0 to {V - 1}")
    return np.ascontiguousarray(ids, np.int64)


def sum_rows(ids: Ids, rows: Array, sums: Array) -> None:
    """The twin of reference.sum_rows."""
    if sums.dtype != np.float32:
        reference.sum_rows(ids, rows, sums)
        return
    (R,), (V, N) = ids.shape, sums.shape
    checked = _checked_ids(ids, V)
    compute = typed_function("sum_rows", 3, 0, 3)
    compute(R, N, V, checked.ctypes.data, address(rows, R, N), address(sums, V, N))


def add_rows(table: Array, rows: Ids, logits: Array) -> None:
    """The twin of reference.add_rows."""
    if logits.dtype != np.float32:
        reference.add_rows(table, rows, logits)
        return
    (N, n), (slots, V) = rows.shape, table.shape
    checked = _checked_ids(rows, slots)
    compute = typed_function("add_rows", 3, 0, 3)
    compute(N, n, V, checked.ctypes.data, address(table, slots, V), address(logits, N, V))


def update_rows(
    table: Array,
    squares: Array,
    rows: Ids,
    dlogits: Array,
    span: slice,
    *,
    rate: float,
    epsilon: float,
) -> None:
    """The twin of reference.update_rows."""
    if table.dtype != np.float32:
        reference.update_rows(table, squares, rows, dlogits, span, rate=rate, epsilon=epsilon)
        return
    (N, n), (slots, V) = rows.shape, table.shape
    checked, constants = _checked_ids(rows, slots), np.array([rate, epsilon], np.float32)
    typed_function("update_rows", 5, 0, 6)(
        N,
        n,
        V,
        span.start,
        span.stop,
        checked.ctypes.data,
        address(dlogits, N, V),
        address(table, slots, V),
        address(squares, slots),
        constants.ctypes.data,
        scratch.address(4 * (span.stop - span.start + 2 * N * n + V)),
    )


def log_softmax(logits: Array, b: Array) -> None:
    """The twin of reference.log_softmax."""
    if logits.dtype != np.float32:
        reference.log_softmax(logits, b)
        return
    N, V = logits.shape
    typed_function("log_softmax", 2, 0, 2)(N, V, address(logits, N, V), address(b, V))


def cross_entropy_gradient(log_probs: Array, targets: Ids, scales: Array) -> None:
    """The twin of reference.cross_entropy_gradient."""
    if log_probs.dtype != np.float32:
        reference.cross_entropy_gradient(log_probs, targets, scales)
        return
    N, V = log_probs.shape
    checked = _checked_ids(targets, V)
    compute = typed_function("cross_entropy_gradient", 2, 0, 3)
    compute(N, V, checked.ctypes.data, address(log_probs, N, V), address(scales, N))


def adam_update(
    weights: Array, gradient: Array, mean: Array, square: Array, **constants: float
) -> None:
    """The twin of reference.adam_update."""
    if weights.dtype != np.float32:
        reference.adam_update(weights, gradient, mean, square, **constants)
        return
    (n,) = weights.shape
    numbers = np.array([constants[name] for name in _ADAM_CONSTANTS], np.float32)
    addresses = (address(array, n) for array in (weights, gradient, mean, square))
    typed_function("adam_update", 1, 0, 5)(n, *addresses, numbers.ctypes.data)


def packed(W: Array, *, gates: bool) -> Array:
    """W (K, N) in panels for the products of single steps; those of gates have N = 4H."""
    K, N = W.shape
    panel = 4 * width()
    columns = _padded(N, panel)
    room = np.empty(K * columns, np.float32)
    pack = typed_function("pack_gates" if gates else "pack_columns", 2, 0, 2)
    pack(K, N // 4 if gates else N, address(W, K, N), room.ctypes.data)
    return room


def activation(name: str, x: Array) -> Array:
    """tanh or sigmoid of a 1-D float32 array, as the kernels compute it: for the tests."""
    y = np.empty_like(x)
    typed_function("activation", 1, 1, 2)(
        len(x), name == "tanh", address(x, len(x)), address(y, len(x))
    )
    return y
