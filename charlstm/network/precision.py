"""The precision of training: the meaning of "auto", and the models that can train in bfloat16."""

from typing import Literal, get_args

from charlstm import kernels
from charlstm.config import AUTO, ModelConfig, Precision
from charlstm.errors import ArgumentError
from charlstm.untrusted import require_choice


def resolve_precision(asked: str, model: ModelConfig) -> Literal["float32", "bfloat16"]:
    """Return the precision of the operands of matrix products; "float32" leaves them unchanged.

    "auto" takes bfloat16 where it is much faster: for an LSTM of float32, on a processor with AMX.
    Raises CharlstmError for bfloat16 with a model of float64: most digits would be lost.
    """
    require_choice("precision", asked, (AUTO, *get_args(Precision)))
    if asked == "bfloat16" and model.dtype != "float32":
        raise ArgumentError(
            f'`precision="bfloat16"` is for models of float32, not of {model.dtype}'
        )
    pays = kernels.fast_bfloat16() and model.cell == "lstm" and model.dtype == "float32"
    if asked == "bfloat16" or (asked == AUTO and pays):
        return "bfloat16"
    return "float32"


def explain_precision(asked: str, model: ModelConfig) -> str:
    """Return the precision in which a model trains on this machine, with the reason in brackets."""
    if model.dtype != "float32":
        return model.dtype
    taken, automatic = resolve_precision(asked, model), resolve_precision(AUTO, model)
    if taken != automatic:
        return f"{taken} (chosen; auto would take {automatic} here)"
    if taken == "bfloat16":
        return "bfloat16 (fast with AMX)"
    if kernels.fast_bfloat16():
        return "float32 (bfloat16 is much faster for LSTMs only)"
    if model.cell == "lstm" and kernels.multiplies_bfloat16():
        return "float32 (bfloat16 is faster here, but auto takes it with AMX only)"
    return "float32 (bfloat16 is much faster with AMX only)"
