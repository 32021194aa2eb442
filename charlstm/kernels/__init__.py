"""The computations that take most of the time of training and sampling, in NumPy and in C.

This package may import `config`, `arrays` and `errors`. Start reading at reference.py, which
defines every function in NumPy. native.py has the same functions with C code, which
native_kernels.h explains.

The native kernels (in C) are used if they were built, else the NumPy kernels. The environment
variable CHARLSTM_KERNELS=numpy or native forces the choice. CHARLSTM_ISA=amx, avx512bf16, avx512,
avx2, neon or portable forces the instruction set of the native kernels.
"""

import os
from types import ModuleType

from charlstm.config import ModelConfig
from charlstm.errors import CharlstmError
from charlstm.kernels import native, native_library, reference
from charlstm.kernels.native_generation import GenerationWeights, NativeGeneration
from charlstm.kernels.native_training import NativeTrainingStep


def _choose_kernels() -> tuple[ModuleType, str, str, str]:
    """Choose the kernels by CHARLSTM_KERNELS, or by whether the native kernels can run.

    Returns the module, its description for users, an error message and advice. The error message is
    "" unless the environment variables ask for kernels that cannot run here. The advice is ""
    unless native kernels could be built.
    """
    forced = os.environ.get("CHARLSTM_KERNELS", "")
    if forced == "numpy":
        return reference, "NumPy kernels, as CHARLSTM_KERNELS asks", "", ""
    if forced not in ("", "native"):
        problem = f"CHARLSTM_KERNELS must be numpy or native, not {forced!r}"
        return reference, "NumPy kernels", problem, ""
    try:
        return native, f"native kernels ({native_library.description()})", "", ""
    except native_library.UnavailableError as error:
        problem = f"CHARLSTM_KERNELS=native: {error}" if forced else ""
        return reference, f"NumPy kernels ({error})", problem, error.advice
    except CharlstmError as error:
        return reference, "NumPy kernels", str(error), ""


_implementation, DESCRIPTION, _problem, ADVICE = _choose_kernels()
BACKEND = "native" if _implementation is native else "numpy"

lstm_forward, lstm_backward = _implementation.lstm_forward, _implementation.lstm_backward
gru_forward, gru_backward = _implementation.gru_forward, _implementation.gru_backward
rnn_forward, rnn_backward = _implementation.rnn_forward, _implementation.rnn_backward
project, weight_gradient = _implementation.project, _implementation.weight_gradient
input_gradient = _implementation.input_gradient
log_softmax = _implementation.log_softmax
cross_entropy_gradient = _implementation.cross_entropy_gradient
sum_rows, add_ngram_logits = _implementation.sum_rows, _implementation.add_ngram_logits
update_ngram_rows, adam_update = _implementation.update_ngram_rows, _implementation.adam_update


def require_requested_kernels() -> None:
    """Raise CharlstmError if environment variables ask for kernels that cannot run here.

    Importing charlstm.kernels does not raise the error, because the command line could not then
    print the error as one line.
    """
    if _problem:
        raise CharlstmError(_problem)


def can_generate(config: ModelConfig) -> bool:
    """Whether NativeGeneration can sample from a model of this config on this machine."""
    return BACKEND == "native" and config.cell == "lstm" and config.dtype == "float32"


def can_train(config: ModelConfig, precision: str) -> bool:
    """Whether NativeTrainingStep can train a model of this config on this machine."""
    return can_generate(config) and (precision == "float32" or multiplies_bfloat16())


def multiplies_bfloat16() -> bool:
    """Whether instructions for bfloat16 are in use, with which an LSTM trains faster."""
    return BACKEND == "native" and native_library.bfloat16_set() is not None


def fast_bfloat16() -> bool:
    """Whether AMX is in use, with which bfloat16 products are several times as fast as float32."""
    return BACKEND == "native" and native_library.bfloat16_set() == "amx"


__all__ = [
    "ADVICE",
    "BACKEND",
    "DESCRIPTION",
    "GenerationWeights",
    "NativeGeneration",
    "NativeTrainingStep",
    "adam_update",
    "add_ngram_logits",
    "can_generate",
    "can_train",
    "cross_entropy_gradient",
    "fast_bfloat16",
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
    "update_ngram_rows",
    "weight_gradient",
]
