"""A layer of LSTM units: the recurrence of cells.lstm_step_forward over a window.

With capped input gates its module is layers/capped.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import projection
from charlstm.network.layers.recurrent import initialise_weights, rows

GATES: tuple[str, ...] = (
    "input",
    "forget",
    "output",
    "candidate",
)  # blocks of H columns, in this order
STORED_PER_UNIT = 7  # numbers that a forward pass stores per unit and time step
STATE_PARTS = 2  # h, then c


@dataclass
class LSTMActivations:
    """The activations of one layer over one window."""

    gates: Array  # (T, B, 4H): i f o g; after the backward pass, their gradients
    h: Array  # (T+1, B, H): row 0 is the state before the window
    c: Array  # (T+1, B, H)
    tanh_c: Array  # (T, B, H)
    precision: str
    capped: bool  # whether the input gate is at most 1 - f


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> LSTMActivations:
    """Room for a window of T steps and B streams."""
    H, dtype = config.hidden, config.dtype
    return LSTMActivations(
        gates=np.empty((T, B, 4 * H), dtype),
        h=np.empty((T + 1, B, H), dtype),
        c=np.empty((T + 1, B, H), dtype),
        tanh_c=np.empty((T, B, H), dtype),
        precision=precision,
        capped=config.capped,
    )


def shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a layer with D inputs and H units; gates in the order i f o g."""
    return {"Wx": (D, 4 * H), "Wh": (H, 4 * H), "b": (4 * H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/H); biases 0, and 1 for the forget gate (Jozefowicz et al. 2015)."""
    initialise_weights(parameters, rng)
    H = len(parameters["Wh"])
    parameters["b"][H : 2 * H] = 1


def forward(
    parameters: Mapping[str, Array],
    x: Array | Ids,
    state: Array,
    activations: LSTMActivations,
    symbols: Ids | None = None,
) -> Array:
    """See RecurrentLayer.forward."""
    w = activations
    w.h[0], w.c[0] = state
    projection.forward(parameters, x, w.gates, w.precision, symbols)
    kernels.lstm_forward(w.gates, w.h, w.c, w.tanh_c, parameters["Wh"], w.precision, w.capped)
    return np.stack((w.h[-1], w.c[-1]))


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: LSTMActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    w = activations
    Wh, (dh, dc) = parameters["Wh"], dstate
    kernels.lstm_backward(w.gates, dh, dc, dout, w.h, w.c, w.tanh_c, Wh, w.precision, w.capped)
    projection.backward(parameters, w.gates, dx, w.precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: LSTMActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    w = activations
    kernels.weight_gradient(rows(w.h[:-1]), rows(w.gates), gradients["Wh"], w.precision)


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: LSTMActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    w = activations
    projection.weight_gradients(gradients, x, w.gates, w.precision, symbols)
