"""Layers: each module has the forward pass and the backward pass of one kind of layer.

A layer keeps nothing between calls. Its forward pass stores the activations that its backward pass
needs. Gradients overwrite the arrays that they are written to, instead of being added to them.
"""

from charlstm.config import ModelConfig
from charlstm.network.layers import gru, lstm, rnn
from charlstm.network.layers.recurrent import LayerActivations, RecurrentLayer

CELLS: dict[str, RecurrentLayer] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def layer_of(config: ModelConfig) -> RecurrentLayer:
    """Return the module of the recurrent layers that a model is a stack of."""
    return CELLS[config.cell]


__all__ = ["CELLS", "LayerActivations", "RecurrentLayer", "layer_of"]
