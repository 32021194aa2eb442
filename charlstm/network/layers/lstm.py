"""A layer of LSTM units that reads a window of T time steps of B parallel streams.

The layer has D inputs and H hidden units; its gates are one block of 4H columns in the order i f o
g. With * for products element by element, for t = 1 .. T:

    a_t = x_t Wx + h_{t-1} Wh + b            x_t (B, D)   Wx (D, 4H)   Wh (H, 4H)   b (4H)
    i, f, o = sigmoid(a_t[:3H])              if capped: i = min(i, 1 - f) (Melis et al. 2020)
    g = tanh(a_t[3H:])
    c_t = f * c_{t-1} + i * g                keep the share f, add the share i of g
    h_t = o * tanh(c_t)                      show the share o

and for t = T .. 1, with d for the gradient of the loss, as textbook_cells.py derives it:

    dh_t = dout_t + da_{t+1} Wh^T            from the layer above and from the next step
    dc_t = dh_t * o * (1 - tanh(c_t)^2) + dc_{t+1} * f_{t+1}
    da_t = [dc_t g i (1 - i),  dc_t c_{t-1} f (1 - f),  dh_t tanh(c_t) o (1 - o),  dc_t i (1 - g^2)]
    dx_t = da_t Wx^T
    dWx += x_t^T da_t    dWh += h_{t-1}^T da_t    db += sum of da_t over the streams

Only the recurrence has to be computed step by step, by kernels.lstm_forward and
kernels.lstm_backward (in NumPy: kernels/reference.py). The products with Wx and the gradients of
all weights are computed for all T steps at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import projection
from charlstm.network.layers.recurrent import initialise_weights, rows

GATES: Mapping[str, str] = {"i": "input", "f": "forget", "o": "output", "g": "candidate"}
STORED_PER_UNIT = 7  # numbers that a unit stores per time step: 4 gates, h, c and tanh_c
STATE_PARTS = 2  # the state has two arrays: h, then c


class LSTMActivations(NamedTuple):
    """The activations of one layer over a window."""

    gates: Array  # (T, B, 4H): i f o g of each step; after the backward pass, da
    h: Array  # (T+1, B, H): row 0 is the state before the window
    c: Array  # (T+1, B, H): row 0 is the cell state before the window
    tanh_c: Array  # (T, B, H)
    precision: str
    capped: bool


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> LSTMActivations:
    """See RecurrentLayer.new_activations."""
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
    """Return the names and shapes of the parameters of a layer with D inputs."""
    return {"Wx": (D, 4 * H), "Wh": (H, 4 * H), "b": (4 * H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Draw weights from N(0, 1/H); set the biases of the forget gate to 1 and all others to 0.

    With a bias of 1, the forget gate at first keeps most of the cell state (Jozefowicz et al.
    2015).
    """
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
    gates, h, c, tanh_c, precision, capped = activations
    h[0], c[0] = state
    projection.forward(parameters, x, gates, precision, symbols)
    kernels.lstm_forward(gates, h, c, tanh_c, parameters["Wh"], precision, capped)
    return np.stack((h[-1], c[-1]))


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: LSTMActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    gates, h, c, tanh_c, precision, capped = activations
    dh, dc = dstate
    kernels.lstm_backward(gates, dh, dc, dout, h, c, tanh_c, parameters["Wh"], precision, capped)
    da = gates  # the kernel has overwritten the gates with their gradients
    projection.backward(parameters, da, dx, precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: LSTMActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    h, da = activations.h, activations.gates
    kernels.weight_gradient(rows(h[:-1]), rows(da), gradients["Wh"], activations.precision)


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: LSTMActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    da = activations.gates
    projection.weight_gradients(gradients, x, da, activations.precision, symbols)
