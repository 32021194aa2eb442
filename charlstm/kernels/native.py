"""The native kernels, called through ctypes, which releases the interpreter lock meanwhile."""

import ctypes
import importlib.util
import os
import threading
from functools import cache
from typing import Any

import numpy as np

from ..arrays import Array, Ids
from ..errors import CharlstmError
from . import reference

# (name, its bit in what the library finds, floats in a vector), the best first
_INSTRUCTION_SETS = (("avx512", 2, 16), ("avx2", 1, 8), ("neon", 4, 4), ("portable", 0, 4))


_ADAM_CONSTANTS = ("beta1", "beta2", "step_size", "root_correction", "epsilon", "kept")

# Where our products were measured to beat OpenBLAS's: with AVX-512, and sums of so many terms. The
# head's few columns would leave half of a panel empty.
LONG_SUM = 512
WIDE = 256


class UnavailableError(Exception):
    """There is no native library here; the message says why."""


@cache
def _library() -> ctypes.CDLL:
    spec = importlib.util.find_spec("charlstm.kernels._native")
    if spec is None or spec.origin is None:
        raise UnavailableError("the native ones were not built: no C compiler at installation?")
    try:
        return ctypes.CDLL(spec.origin)
    except OSError as error:
        raise UnavailableError(f"the native ones cannot be loaded: {error}") from error


@cache
def _chosen() -> tuple[str, int]:
    """The instruction set to use and its vector width, or what CHARLSTM_ISA asks for."""
    found = _library().instruction_sets()
    forced = os.environ.get("CHARLSTM_ISA")
    usable = [(name, width) for name, bit, width in _INSTRUCTION_SETS if found & bit == bit]
    for name, width in usable:
        if forced in (None, "", name):
            return name, width
    names = ", ".join(name for name, _ in usable)
    raise CharlstmError(f"CHARLSTM_ISA={forced}: this machine has {names}")


def instruction_set() -> str:
    """The instruction set that the kernels run with; UnavailableError without a library."""
    return _chosen()[0]


class _Scratch(threading.local):
    """Room for packed weights, kept by each thread from call to call."""

    def __init__(self) -> None:
        self._room = np.empty(0, np.float32)

    def address(self, floats: int) -> int:
        if len(self._room) < floats:
            self._room = np.empty(floats, np.float32)
        return self._room.ctypes.data


_scratch = _Scratch()


def _address(array: Array, *shape: int) -> int:
    """The address of a contiguous float32 array of this shape; C would not notice another."""
    if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"not a contiguous float32 array of shape {shape}: {array.dtype}")
    return array.ctypes.data


def _serves(array: Array, T: int) -> bool:
    """Whether the native kernels take this: float32, and enough steps to be worth packing for."""
    return array.dtype == np.float32 and T >= reference.WORTH_BLOCKING


def function(name: str) -> Any:
    """The C function of this name for the instruction set in use; it returns nothing."""
    found = _library()[f"{name}_{instruction_set()}"]  # a new object at each call
    found.restype = None
    return found


@cache
def _function(name: str, sizes: int, flags: int, addresses: int) -> Any:
    """The C function that takes so many sizes, then flags, then addresses."""
    found = function(name)
    found.argtypes = (
        sizes * [ctypes.c_ssize_t] + flags * [ctypes.c_int] + addresses * [ctypes.c_void_p]
    )
    return found


def lstm_forward(
    gates: Array, h: Array, c: Array, tanh_c: Array, Wh: Array, precision: str = "float32"
) -> None:
    """The twin of reference.lstm_forward, which serves float64 and short windows."""
    T, B, H = tanh_c.shape
    if not _serves(gates, T) or precision == "bfloat16":
        reference.lstm_forward(gates, h, c, tanh_c, Wh, precision)
        return
    _function("lstm_forward", 3, 0, 6)(
        T,
        B,
        H,
        _address(gates, T, B, 4 * H),
        _address(h, T + 1, B, H),
        _address(c, T + 1, B, H),
        _address(tanh_c, T, B, H),
        _address(Wh, H, 4 * H),
        _scratch.address((H + 16) * 4 * H),
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
) -> None:
    """The twin of reference.lstm_backward."""
    T, B, H = tanh_c.shape
    if not _serves(gates, T) or precision == "bfloat16":
        reference.lstm_backward(gates, dh, dc, dh_out, h, c, tanh_c, Wh, precision)
        return
    _function("lstm_backward", 3, 0, 8)(
        T,
        B,
        H,
        _address(gates, T, B, 4 * H),
        _address(dh, B, H),
        _address(dc, B, H),
        _address(dh_out, T, B, H),
        _address(c, T + 1, B, H),
        _address(tanh_c, T, B, H),
        _address(Wh, H, 4 * H),
        _scratch.address((H + 64) * 4 * H),
    )


def _multiply(
    A: Array, B: Array, C: Array, *, transpose_A: bool = False, transpose_B: bool = False
) -> None:
    """C (M, N) = A B over K terms, either of them transposed; all contiguous float32."""
    M, N = C.shape
    K = A.shape[0] if transpose_A else A.shape[1]
    compute = _function("multiply", 3, 2, 4)
    compute(
        M,
        N,
        K,
        transpose_A,
        transpose_B,
        _address(A, *((K, M) if transpose_A else (M, K))),
        _address(B, *((N, K) if transpose_B else (K, N))),
        _address(C, M, N),
        _scratch.address(64 * K),
    )


def _beats_blas(W: Array, precision: str) -> bool:
    """Whether our products for weights W (K, N), or their gradient, are worth their packing."""
    wide = W.dtype == np.float32 and W.shape[1] >= WIDE
    return wide and precision == "float32" and instruction_set() == "avx512"


def project(x: Array, W: Array, out: Array, precision: str = "float32") -> None:
    """The twin of reference.project; BLAS is the faster one where the sums are short."""
    if _beats_blas(W, precision) and len(W) >= LONG_SUM:
        _multiply(x, W, out)
    else:
        reference.project(x, W, out, precision)


def weight_gradient(x: Array, dout: Array, dW: Array, precision: str = "float32") -> None:
    """The twin of reference.weight_gradient."""
    if _beats_blas(dW, precision):
        _multiply(x, dout, dW, transpose_A=True)
    else:
        reference.weight_gradient(x, dout, dW, precision)


def input_gradient(dout: Array, W: Array, dx: Array, precision: str = "float32") -> None:
    """The twin of reference.input_gradient, which serves: BLAS is the faster one."""
    reference.input_gradient(dout, W, dx, precision)


def _checked_ids(ids: Ids, V: int) -> Ids:
    """The same ids, contiguous and in 64 bits; C would not notice one that is too large."""
    if len(ids) and not 0 <= ids.min() <= ids.max() < V:
        raise ValueError(f"ids must be 0 to {V - 1}")
    return np.ascontiguousarray(ids, np.int64)


def sum_rows(ids: Ids, rows: Array, sums: Array) -> None:
    """The twin of reference.sum_rows."""
    if sums.dtype != np.float32:
        reference.sum_rows(ids, rows, sums)
        return
    (R,), (V, N) = ids.shape, sums.shape
    checked = _checked_ids(ids, V)
    compute = _function("sum_rows", 3, 0, 3)
    compute(R, N, V, checked.ctypes.data, _address(rows, R, N), _address(sums, V, N))


def log_softmax(logits: Array, b: Array) -> None:
    """The twin of reference.log_softmax."""
    if logits.dtype != np.float32:
        reference.log_softmax(logits, b)
        return
    N, V = logits.shape
    _function("log_softmax", 2, 0, 2)(N, V, _address(logits, N, V), _address(b, V))


def cross_entropy_gradient(log_probs: Array, targets: Ids, scales: Array) -> None:
    """The twin of reference.cross_entropy_gradient."""
    if log_probs.dtype != np.float32:
        reference.cross_entropy_gradient(log_probs, targets, scales)
        return
    N, V = log_probs.shape
    checked = _checked_ids(targets, V)
    compute = _function("cross_entropy_gradient", 2, 0, 3)
    compute(N, V, checked.ctypes.data, _address(log_probs, N, V), _address(scales, N))


def adam_update(
    weights: Array, gradient: Array, mean: Array, square: Array, **constants: float
) -> None:
    """The twin of reference.adam_update."""
    if weights.dtype != np.float32:
        reference.adam_update(weights, gradient, mean, square, **constants)
        return
    (n,) = weights.shape
    numbers = np.array([constants[name] for name in _ADAM_CONSTANTS], np.float32)
    addresses = (_address(array, n) for array in (weights, gradient, mean, square))
    _function("adam_update", 1, 0, 5)(n, *addresses, numbers.ctypes.data)


def packed(W: Array, *, gates: bool) -> Array:
    """W (K, N) in panels for the products of single steps; those of gates have N = 4H."""
    K, N = W.shape
    width = 4 * _chosen()[1]
    columns = -(-N // width) * width if not gates else 4 * -(-N // width) * (width // 4)
    room = np.empty(K * columns, np.float32)
    pack = _function("pack_gates" if gates else "pack_columns", 2, 0, 2)
    pack(K, N // 4 if gates else N, _address(W, K, N), room.ctypes.data)
    return room


def activation(name: str, x: Array) -> Array:
    """tanh or sigmoid of a 1-D float32 array, as the kernels compute it: for the tests."""
    y = np.empty_like(x)
    _function("activation", 1, 1, 2)(
        len(x), name == "tanh", _address(x, len(x)), _address(y, len(x))
    )
    return y
