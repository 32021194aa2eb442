"""Layers: forward and backward side by side. They remember nothing between calls.

What a backward pass needs lies in the workspace of its forward pass. Gradients of parameters
and of activations overwrite the arrays that they are written to.
"""

from charlstm.config import ModelConfig
from charlstm.network.layers import gru, lstm, rnn
from charlstm.network.layers.recurrent import LayerActivations, RecurrentLayer

CELLS: dict[str, RecurrentLayer] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def layer_of(config: ModelConfig) -> RecurrentLayer:
    """The kind of layer that a model is a stack of."""
    return CELLS[config.cell]


__all__ = ["CELLS", "RecurrentLayer", "LayerActivations", "layer_of"]
