"""Layers: forward and backward side by side. They remember nothing between calls.

What a backward pass needs lies in the workspace of its forward pass. Gradients of parameters
and of activations overwrite the arrays that they are written to.
"""

from . import gru, lstm, rnn
from .recurrent import RecurrentLayer, Workspace

CELLS: dict[str, RecurrentLayer] = {"lstm": lstm, "gru": gru, "rnn": rnn}

__all__ = ["CELLS", "RecurrentLayer", "Workspace"]
