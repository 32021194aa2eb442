"""The native kernels: C functions, called through ctypes, which releases the interpreter lock.

Each function has the arguments and the results of the function of the same name in reference.py. A
native function calls its NumPy function where no C code exists or where C would be slower. NumPy
computes float64, windows too short to be worth packing the weights, bfloat16 on a processor without
instructions for bfloat16, and a GRU or RNN in bfloat16.
"""

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.kernels import reference
from charlstm.kernels.native_library import (
    address,
    bfloat16_set,
    float32_set,
    scratch,
    size_of,
    typed_function,
)

_ADAM_CONSTANTS = ("beta1", "beta2", "step_size", "root_correction", "epsilon", "kept")

# Minimum number of columns of a float32 product that C code computes instead of OpenBLAS. With
# AVX-512, C code was measured to be faster for 128 columns or more. In a narrower product, such as
# the head's, up to half of a panel may be padding.
MIN_NATIVE_COLUMNS = 128


def _instruction_set(array: Array, precision: str, T: int | None = None) -> str | None:
    """Return the instruction set of the C code for a product, or None if NumPy computes it.

    array: any array of the product; only its dtype matters.
    T: the number of time steps of the window, or None for a product outside the recurrence.
    """
    if array.dtype != np.float32 or (T is not None and T < reference.MIN_STEPS_TO_PACK):
        return None
    return bfloat16_set() if precision == "bfloat16" else float32_set()


def lstm_forward(
    gates: Array,
    h: Array,
    c: Array,
    tanh_c: Array,
    Wh: Array,
    precision: str = "float32",
    capped: bool = False,
) -> None:
    """See reference.lstm_forward."""
    T, B, H = tanh_c.shape
    isa = _instruction_set(gates, precision, T)
    if isa is None:
        reference.lstm_forward(gates, h, c, tanh_c, Wh, precision, capped)
        return
    typed_function("lstm_forward", 3, 1, 6, isa)(
        T,
        B,
        H,
        capped,
        address(gates, T, B, 4 * H),
        address(h, T + 1, B, H),
        address(c, T + 1, B, H),
        address(tanh_c, T, B, H),
        address(Wh, H, 4 * H),
        scratch.address(size_of("lstm", B, H, isa=isa)),
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
    """See reference.lstm_backward."""
    T, B, H = tanh_c.shape
    isa = _instruction_set(gates, precision, T)
    if isa is None:
        reference.lstm_backward(gates, dh, dc, dh_out, h, c, tanh_c, Wh, precision, capped)
        return
    typed_function("lstm_backward", 3, 1, 8, isa)(
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
        scratch.address(size_of("lstm", B, H, isa=isa)),
    )


def gru_forward(
    gates: Array, h: Array, candidate: Array, Wh: Array, bn: Array, precision: str = "float32"
) -> None:
    """See reference.gru_forward."""
    T, B, H = candidate.shape
    if precision == "bfloat16" or _instruction_set(gates, precision, T) is None:
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
        scratch.address(size_of("panels", 3 * H, H)),
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
    """See reference.gru_backward."""
    T, B, H = candidate.shape
    if precision == "bfloat16" or _instruction_set(gates, precision, T) is None:
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
        scratch.address(size_of("panels", 3 * H, H)),
    )


def rnn_forward(a: Array, h: Array, Wh: Array, precision: str = "float32") -> None:
    """See reference.rnn_forward."""
    T, B, H = a.shape
    if precision == "bfloat16" or _instruction_set(a, precision, T) is None:
        reference.rnn_forward(a, h, Wh, precision)
        return
    addresses = address(a, T, B, H), address(h, T + 1, B, H), address(Wh, H, H)
    packed = scratch.address(size_of("panels", H, H))
    typed_function("rnn_forward", 3, 0, 4)(T, B, H, *addresses, packed)


def rnn_backward(
    a: Array, dh: Array, dh_out: Array, h: Array, Wh: Array, precision: str = "float32"
) -> None:
    """See reference.rnn_backward."""
    T, B, H = a.shape
    if precision == "bfloat16" or _instruction_set(a, precision, T) is None:
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
        scratch.address(size_of("panels", H, H)),
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
    """Compute C (M, N) = A B + b, for A (M, K), B (K, N) and b (N), all contiguous float32.

    transpose_A, transpose_B: whether A is given as (K, M), and B as (N, K).
    """
    M, N = C.shape
    K = A.shape[0] if transpose_A else A.shape[1]
    isa = _instruction_set(C, precision)
    if precision == "bfloat16":
        name, size = "multiply_bfloat16", size_of("multiply", M, K, isa=isa)
    else:
        name, size = "multiply", size_of("panels", K, 1)
    typed_function(name, 3, 2, 5, isa)(
        M,
        N,
        K,
        transpose_A,
        transpose_B,
        address(A, *((K, M) if transpose_A else (M, K))),
        address(B, *((N, K) if transpose_B else (K, N))),
        None if b is None else address(b, N),
        address(C, M, N),
        scratch.address(size),
    )


def _multiplies(C: Array, precision: str) -> bool:
    """Whether the C code, and not OpenBLAS, computes a product with the result C (M, N)."""
    isa = _instruction_set(C, precision)
    if precision == "bfloat16":
        return isa is not None
    return C.shape[1] >= MIN_NATIVE_COLUMNS and isa == "avx512"


def project(
    x: Array, W: Array, out: Array, precision: str = "float32", b: Array | None = None
) -> None:
    """See reference.project."""
    if _multiplies(out, precision):
        multiply(x, W, out, precision=precision, b=b)
    else:
        reference.project(x, W, out, precision, b)


def weight_gradient(x: Array, dout: Array, dW: Array, precision: str = "float32") -> None:
    """See reference.weight_gradient."""
    if _multiplies(dW, precision):
        multiply(x, dout, dW, transpose_A=True, precision=precision)
    else:
        reference.weight_gradient(x, dout, dW, precision)


def input_gradient(dout: Array, W: Array, dx: Array, precision: str = "float32") -> None:
    """See reference.input_gradient."""
    if _multiplies(dx, precision):
        multiply(dout, W, dx, transpose_B=True, precision=precision)
    else:
        reference.input_gradient(dout, W, dx, precision)


def _checked_ids(ids: Ids, V: int) -> Ids:
    """Return the ids as contiguous 64-bit integers; raise ValueError for an id not in 0 .. V - 1.

    The C code does not check ids.
    """
    if ids.size and not 0 <= ids.min() <= ids.max() < V:
        raise ValueError(f"ids must be 0 to {V - 1}")
    return np.ascontiguousarray(ids, np.int64)


def sum_rows(ids: Ids, rows: Array, sums: Array) -> None:
    """See reference.sum_rows."""
    if sums.dtype != np.float32:
        reference.sum_rows(ids, rows, sums)
        return
    (R,), (V, N) = ids.shape, sums.shape
    checked = _checked_ids(ids, V)
    compute = typed_function("sum_rows", 3, 0, 3)
    compute(R, N, V, checked.ctypes.data, address(rows, R, N), address(sums, V, N))


def add_ngram_logits(table: Array, rows: Ids, logits: Array) -> None:
    """See reference.add_ngram_logits."""
    if logits.dtype != np.float32:
        reference.add_ngram_logits(table, rows, logits)
        return
    (N, n), (R, V) = rows.shape, table.shape
    checked = _checked_ids(rows, R)
    compute = typed_function("add_ngram_logits", 3, 0, 3)
    compute(N, n, V, checked.ctypes.data, address(table, R, V), address(logits, N, V))


def update_ngram_rows(
    table: Array,
    squares: Array,
    rows: Ids,
    dlogits: Array,
    span: slice,
    *,
    rate: float,
    epsilon: float,
) -> None:
    """See reference.update_ngram_rows."""
    if table.dtype != np.float32:
        reference.update_ngram_rows(table, squares, rows, dlogits, span, rate=rate, epsilon=epsilon)
        return
    (N, n), (R, V) = rows.shape, table.shape
    checked, constants = _checked_ids(rows, R), np.array([rate, epsilon], np.float32)
    typed_function("update_ngram_rows", 5, 0, 6)(
        N,
        n,
        V,
        span.start,
        span.stop,
        checked.ctypes.data,
        address(dlogits, N, V),
        address(table, R, V),
        address(squares, R),
        constants.ctypes.data,
        # An int or a float takes 4 bytes.
        scratch.address(4 * (span.stop - span.start + 2 * N * n + V)),
    )


def log_softmax(logits: Array, b: Array) -> None:
    """See reference.log_softmax."""
    if logits.dtype != np.float32:
        reference.log_softmax(logits, b)
        return
    N, V = logits.shape
    typed_function("log_softmax", 2, 0, 2)(N, V, address(logits, N, V), address(b, V))


def cross_entropy_gradient(log_probs: Array, targets: Ids, scales: Array) -> None:
    """See reference.cross_entropy_gradient."""
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
    """See reference.adam_update."""
    if weights.dtype != np.float32:
        reference.adam_update(weights, gradient, mean, square, **constants)
        return
    (n,) = weights.shape
    numbers = np.array([constants[name] for name in _ADAM_CONSTANTS], np.float32)
    addresses = (address(array, n) for array in (weights, gradient, mean, square))
    typed_function("adam_update", 1, 0, 5)(n, *addresses, numbers.ctypes.data)


def packed(W: Array, *, gates: bool) -> Array:
    """Return W (K, N) packed into panels, for NativeGeneration.

    gates: whether W (K, 4H) holds the weights of an LSTM's gates, which are packed in another way.
    """
    K, N = W.shape
    kind, columns = ("gate_panels", N // 4) if gates else ("panels", N)
    panels = np.empty(size_of(kind, K, columns), np.uint8)
    pack = typed_function("pack_gates" if gates else "pack_columns", 2, 0, 2)
    pack(K, columns, address(W, K, N), panels.ctypes.data)
    return panels


def activation(name: str, x: Array) -> Array:
    """Return tanh or sigmoid of a 1-D float32 array as the kernels compute it; for tests."""
    y = np.empty_like(x)
    typed_function("activation", 1, 1, 2)(
        len(x), name == "tanh", address(x, len(x)), address(y, len(x))
    )
    return y
