"""A layer of LSTM units whose input gates are capped (Melis et al. 2020): min(i, 1 - f) for i.

What a cell takes in is no more than what it forgets, so that it stays between -1 and 1 and, where
the forget gate is nearly 1, is left as it is.
"""

from .lstm import (
    STATE_PARTS,
    LSTMWorkspace,
    backward,
    forward,
    initialise,
    projection_gradients,
    recurrent_gradients,
    shapes,
)
from .lstm import workspace as lstm_workspace

__all__ = [
    "STATE_PARTS",
    "backward",
    "forward",
    "initialise",
    "projection_gradients",
    "recurrent_gradients",
    "shapes",
    "workspace",
]


def workspace(T: int, B: int, H: int, dtype: str, precision: str = "float32") -> LSTMWorkspace:
    """Room for a window of T steps, B lanes and H units."""
    room = lstm_workspace(T, B, H, dtype, precision)
    room.capped = True
    return room
