"""The arithmetic that training and sampling spend their time in, in NumPy and in C.

May import config, arrays and errors. Start reading at reference.py, which defines every function in
NumPy; native.py calls the same functions in C, and native_kernels.h shows how these work.

The native kernels are used if they were built, else NumPy's; CHARLSTM_KERNELS=numpy or native
forces one of them. CHARLSTM_ISA=amx, avx512bf16, avx512, avx2, neon or portable forces an
instruction set of the native ones.
"""

import os
from types import ModuleType

from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.kernels import native, native_library, reference
from charlstm.kernels.native_generation import NativeGeneration

_FORCED = os.environ.get("CHARLSTM_KERNELS", "")

BACKEND = "numpy"
DESCRIPTION = "NumPy kernels, as CHARLSTM_KERNELS asks"
_implementation: ModuleType = reference
_problem = ""

if _FORCED not in ("", "numpy", "native"):
    _problem = f"CHARLSTM_KERNELS must be numpy or native, not {_FORCED!r}"
elif _FORCED != "numpy":
    try:
        DESCRIPTION = f"native kernels ({native_library.description()})"
    except native_library.UnavailableError as error:
        DESCRIPTION = f"NumPy kernels ({error})"
        if _FORCED == "native":
            _problem = f"CHARLSTM_KERNELS=native: {error}"
    except CharlstmError as error:
        _problem = str(error)
    else:
        BACKEND = "native"
        _implementation = native

lstm_forward, lstm_backward = _implementation.lstm_forward, _implementation.lstm_backward
gru_forward, gru_backward = _implementation.gru_forward, _implementation.gru_backward
rnn_forward, rnn_backward = _implementation.rnn_forward, _implementation.rnn_backward
project, weight_gradient = _implementation.project, _implementation.weight_gradient
input_gradient = _implementation.input_gradient
log_softmax = _implementation.log_softmax
cross_entropy_gradient = _implementation.cross_entropy_gradient
sum_rows, add_rows = _implementation.sum_rows, _implementation.add_rows
update_rows, adam_update = _implementation.update_rows, _implementation.adam_update


def require_requested_kernels() -> None:
    """Raise CharlstmError if the environment asks for kernels that cannot run here.

    An import does not raise it: the command line could not print it as one line then.
    """
    if _problem:
        raise CharlstmError(_problem)


def generates(config: ModelConfig) -> bool:
    """Whether NativeGeneration can sample from a model of this config here."""
    return BACKEND == "native" and config.cell == "lstm" and config.dtype == "float32"


def multiplies_bfloat16() -> bool:
    """Whether an LSTM trains faster in bfloat16: the processor has instructions for it."""
    return BACKEND == "native" and native_library.bfloat16_set() is not None


def fast_bfloat16() -> bool:
    """Whether products in bfloat16 are several times as fast as in float32: with AMX."""
    return BACKEND == "native" and native_library.bfloat16_set() == "amx"


__all__ = [
    "BACKEND",
    "DESCRIPTION",
    "NativeGeneration",
    "adam_update",
    "add_rows",
    "cross_entropy_gradient",
    "fast_bfloat16",
    "generates",
    "gru_backward",
    "gru_forward",
    "input_gradient",
    "log_softmax",
    "lstm_backward",
    "lstm_forward",
    "multiplies_bfloat16",
    "project",
    "require_requested_kernels",
    "rnn_backward",
    "rnn_forward",
    "sum_rows",
    "update_rows",
    "weight_gradient",
]
