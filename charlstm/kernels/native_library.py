"""The native library: how it is loaded, which instruction set it uses, and its C functions."""

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.arrays import Array
from charlstm.errors import CharlstmError

OTHER_VERSION = "were built from another version of charlstm: install it again"


class UnavailableError(Exception):
    """The native library cannot be used on this machine; the message says why.

    advice: details of the reason and a remedy, or "".
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.advice = advice


@cache
def load() -> ctypes.CDLL:
    """Load the native library; raise UnavailableError if it was not built or cannot be loaded."""
    folder = Path(__file__).parent
    path = max(folder.glob("_native.*"), default=None)  # the suffix is that of the platform
    if path is None:
        raise UnavailableError("the native kernels were not built", _advice(folder))
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise UnavailableError(f"the native kernels cannot be loaded: {error}") from error
    if not hasattr(library, "instruction_set_names"):
        raise UnavailableError(f"the native kernels {OTHER_VERSION}")
    library.instruction_set_names.restype = ctypes.c_char_p
    return library


def _advice(folder: Path) -> str:
    """Return why the library was not built, by the note of setup.py, and how to build it."""
    note = folder / "not_built.txt"
    reason = f" ({note.read_text(encoding='utf-8')})" if note.exists() else ""
    return (
        f"no C compiler worked at installation{reason}; with one, an installation that does not "
        "take charlstm from pip's cache makes kernels of twice the speed and more"
    )


@cache
def usable() -> tuple[str, ...]:
    """Return the instruction sets that both the library and this machine have, fastest first."""
    names: bytes = load().instruction_set_names()
    return tuple(names.decode().split())


@cache
def chosen_instruction_set() -> str:
    """Return the instruction set that CHARLSTM_ISA names, else the fastest that is usable.

    Raises CharlstmError if CHARLSTM_ISA names an instruction set that is not usable.
    """
    forced = os.environ.get("CHARLSTM_ISA") or usable()[0]
    if forced not in usable():
        raise CharlstmError(
            f"CHARLSTM_ISA={forced}: this machine has the instruction sets {', '.join(usable())}"
        )
    return forced


def _multiplies_bfloat16(isa: str) -> bool:
    """Whether an instruction set has the bfloat16 kernels; otherwise it has the float32 kernels."""
    return hasattr(load(), f"multiply_bfloat16_{isa}")


@cache
def float32_set() -> str:
    """Return the instruction set of the float32 kernels.

    The chosen instruction set (see chosen_instruction_set) is returned if it has float32 kernels;
    sets for bfloat16, such as amx, have none. Otherwise the result is the fastest set of this
    machine that has float32 kernels.
    """
    asked_for = (chosen_instruction_set(), *usable())
    return next(isa for isa in asked_for if not _multiplies_bfloat16(isa))


@cache
def bfloat16_set() -> str | None:
    """Return the chosen instruction set if it has bfloat16 kernels, else None."""
    return chosen_instruction_set() if _multiplies_bfloat16(chosen_instruction_set()) else None


def description() -> str:
    """Return the instruction set in use, with a remark if the operating system does not grant AMX.

    The remark is left out if CHARLSTM_ISA chooses the instruction set.
    """
    if load().amx_is_not_granted() and not os.environ.get("CHARLSTM_ISA"):
        return f"{chosen_instruction_set()}; the operating system does not grant AMX"
    return chosen_instruction_set()


def function(name: str, isa: str | None = None) -> Any:
    """Return the C function of this name for an instruction set. The C function returns nothing."""
    # Each look-up makes a new ctypes object, so setting its types affects no other caller.
    found = load()[f"{name}_{isa or float32_set()}"]
    found.restype = None
    return found


@cache
def typed_function(
    name: str, sizes: int, flags: int, addresses: int, isa: str | None = None
) -> Any:
    """Return a C function that checks the types of its arguments.

    sizes, flags, addresses: the number of arguments of each of the three types, in this order.
    """
    found = function(name, isa)
    found.argtypes = (
        sizes * [ctypes.c_ssize_t] + flags * [ctypes.c_int] + addresses * [ctypes.c_void_p]
    )
    return found


@cache
def size_of(name: str, *sizes: int, isa: str | None = None) -> int:
    """Return the number of bytes that a kernel writes, or that it needs as scratch memory.

    The C function size_of_NAME computes this number from sizes of arrays.
    """
    found = function(f"size_of_{name}", isa)
    found.argtypes, found.restype = len(sizes) * [ctypes.c_ssize_t], ctypes.c_ssize_t
    return int(found(*sizes))


class _Scratch(threading.local):
    """Scratch memory for packed operands: one block per thread, which is kept between calls."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        """Return the address of `size` bytes of scratch, at the start of a cache line."""
        if len(self._memory) < size + 64:
            self._memory = np.empty(size + 64, np.uint8)
        start = self._memory.ctypes.data
        return start + -start % 64


scratch = _Scratch()


def address(array: Array, *shape: int) -> int:
    """Return the address of an array; raise ValueError unless it is contiguous float32 of `shape`.

    The C code does not check its arrays.
    """
    if array.dtype != np.float32 or array.shape != shape or not array.flags.c_contiguous:
        raise ValueError(
            f"not a contiguous float32 array of shape {shape}: {array.dtype}, {array.shape}"
        )
    return array.ctypes.data
