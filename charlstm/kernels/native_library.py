"""The native library: finding it, the instruction set that it runs with, and its functions."""

import ctypes
import importlib.util
import os
import threading
from functools import cache
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.errors import CharlstmError

# The instruction sets, the best first. Each has its bit in what the library finds, a vector of so
# many floats, and kernels for float32; but the first two have those that multiply bfloat16, and
# leave float32 to the best of the others.
_MULTIPLY_BFLOAT16 = {"amx": 16, "avx512bf16": 8}
_FLOAT32 = {"avx512": (2, 16), "avx2": (1, 8), "neon": (4, 4), "portable": (0, 4)}
_AMX_IS_NOT_GRANTED = 32


class UnavailableError(Exception):
    """There is no native library here; the message says why."""


@cache
def load() -> ctypes.CDLL:
    """The library, or UnavailableError."""
    spec = importlib.util.find_spec("charlstm.kernels._native")
    if spec is None or spec.origin is None:
        raise UnavailableError("the native ones were not built: no C compiler at installation?")
    try:
        return ctypes.CDLL(spec.origin)
    except OSError as error:
        raise UnavailableError(f"the native ones cannot be loaded: {error}") from error


@cache
def usable() -> tuple[str, ...]:
    """The instruction sets of this library that this machine has, the best first."""
    found = load().instruction_sets()
    bits = {**_MULTIPLY_BFLOAT16, **{name: bit for name, (bit, _) in _FLOAT32.items()}}
    return tuple(name for name, bit in bits.items() if found & bit == bit)


@cache
def instruction_set() -> str:
    """The best that this machine has, or what CHARLSTM_ISA asks for."""
    forced = os.environ.get("CHARLSTM_ISA") or usable()[0]
    if forced not in usable():
        raise CharlstmError(f"CHARLSTM_ISA={forced}: this machine has {', '.join(usable())}")
    return forced


def float32_set() -> str:
    """The instruction set that float32 is computed with."""
    if instruction_set() in _FLOAT32:
        return instruction_set()
    return next(name for name in usable() if name in _FLOAT32)


def bfloat16_set() -> str | None:
    """The instruction set that bfloat16 is multiplied with; None: it is not."""
    return instruction_set() if instruction_set() in _MULTIPLY_BFLOAT16 else None


def description() -> str:
    """What runs, in a word or a few."""
    if load().instruction_sets() & _AMX_IS_NOT_GRANTED and not os.environ.get("CHARLSTM_ISA"):
        return f"{instruction_set()}; the operating system does not grant AMX"
    return instruction_set()


def width() -> int:
    """Floats in a vector of the float32 kernels."""
    return _FLOAT32[float32_set()][1]


def function(name: str, isa: str | None = None) -> Any:
    """The C function of this name for an instruction set; it returns nothing."""
    found = load()[f"{name}_{isa or float32_set()}"]  # a new object at each call
    found.restype = None
    return found


@cache
def typed_function(
    name: str, sizes: int, flags: int, addresses: int, isa: str | None = None
) -> Any:
    """The C function that takes so many sizes, then flags, then addresses."""
    found = function(name, isa)
    found.argtypes = (
        sizes * [ctypes.c_ssize_t] + flags * [ctypes.c_int] + addresses * [ctypes.c_void_p]
    )
    return found


class _Scratch(threading.local):
    """Room for packed operands, kept by each thread from call to call."""

    def __init__(self) -> None:
        self._room = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        """Of so many bytes, where a cache line begins."""
        if len(self._room) < size + 64:
            self._room = np.empty(size + 64, np.uint8)
        start = self._room.ctypes.data
        return start + -start % 64


scratch = _Scratch()


def address(array: Array, *shape: int) -> int:
    """The address of a contiguous float32 array of this shape; C would not notice another."""
    if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(f"not a contiguous float32 array of shape {shape}: {array.dtype}")
    return array.ctypes.data
