"""Layers: each module has the forward pass and the backward pass of one kind of layer.

The modules keep no data between calls. A forward pass fills arrays of activations, which the caller
allocates and passes to the backward pass. A backward pass overwrites the arrays for gradients: it
does not add to them.
"""

from charlstm.config import ModelConfig
from charlstm.network.layers import gru, lstm, rnn
from charlstm.network.layers.recurrent import LayerActivations, RecurrentLayer

CELLS: dict[str, RecurrentLayer] = {"lstm": lstm, "gru": gru, "rnn": rnn}


def layer_of(config: ModelConfig) -> RecurrentLayer:
    """Return the module (lstm, gru or rnn) of the recurrent layers of a model."""
    return CELLS[config.cell]


__all__ = ["CELLS", "LayerActivations", "RecurrentLayer", "layer_of"]
