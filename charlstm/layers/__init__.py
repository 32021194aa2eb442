"""Layers: forward and backward side by side. They remember nothing between calls.

What a backward pass needs lies in the workspace of its forward pass. Gradients of parameters
and of activations overwrite the arrays that they are written to.
"""

from ..config import ModelConfig
from . import capped, gru, lstm, rnn
from .recurrent import RecurrentLayer, Workspace

CELLS: dict[str, RecurrentLayer] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def layer_of(config: ModelConfig) -> RecurrentLayer:
    """The kind of layer that a model is a stack of."""
    return capped if config.capped else CELLS[config.cell]


__all__ = ["CELLS", "RecurrentLayer", "Workspace", "layer_of"]
