"""The memory, in bytes, that the parameters and the activations of a model need."""

import math

from charlstm.config import ModelConfig
from charlstm.network.layers import layer_of
from charlstm.network.parameters import NGRAM_TABLE, Shapes, dense_size
from charlstm.system.memory import require_memory


def require_memory_for_model(shapes: Shapes, model: ModelConfig, copies: int = 1) -> None:
    """Raise CharlstmError if `copies` copies of a model's parameters cannot fit into memory."""
    sizes = "`hidden`, `layers` or `ngram_slots`" if model.ngrams else "`hidden` or `layers`"
    require_memory(
        parameter_bytes(shapes, model, copies),
        f"a model of {model.layers} x {model.hidden} units",
        f"take smaller {sizes}",
    )


def parameter_bytes(shapes: Shapes, model: ModelConfig, copies: int) -> int:
    """Return the bytes of `copies` parameter vectors and of the one n-gram table they share."""
    numbers = copies * dense_size(shapes) + math.prod(shapes.get(NGRAM_TABLE, (0,)))
    return numbers * _bytes_per_number(model)


def activation_bytes(model: ModelConfig, V: int) -> int:
    """Return the bytes of activations and log-probabilities per stream and time step."""
    stored = model.layers * layer_of(model).STORED_PER_UNIT * model.hidden
    return (V + stored) * _bytes_per_number(model)


def _bytes_per_number(model: ModelConfig) -> int:
    return 8 if model.dtype == "float64" else 4
