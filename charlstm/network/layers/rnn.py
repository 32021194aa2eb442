"""A layer of plain recurrent units that reads a window of T time steps of B parallel streams.

The layer has D inputs and H hidden units. For t = 1 .. T:

    a_t = x_t Wx + b                         x_t (B, D)   Wx (D, H)   Wh (H, H)   b (H)
    h_t = tanh(a_t + h_{t-1} Wh)

and for t = T .. 1, with d for the gradient of the loss, as textbook_cells.py derives it:

    dh_t = dout_t + da_{t+1} Wh^T            from the layer above and from the next step
    da_t = dh_t (1 - h_t^2)
    dx_t = da_t Wx^T
    dWx += x_t^T da_t    dWh += h_{t-1}^T da_t    db += sum of da_t over the streams

Only the recurrence has to be computed step by step, by kernels.rnn_forward and kernels.rnn_backward
(in NumPy: kernels/reference.py). The products with Wx and the gradients of all weights are computed
for all T steps at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import projection
from charlstm.network.layers.recurrent import initialise_weights, rows

# A plain RNN has no gates, so its candidate for the next state becomes the next state.
GATES: Mapping[str, str] = {"h": "candidate"}
STORED_PER_UNIT = 2  # numbers that a unit stores per time step: a and h
STATE_PARTS = 1


class RNNActivations(NamedTuple):
    """The activations of one layer over a window."""

    a: Array  # (T, B, H): x Wx + b; after the backward pass, da
    h: Array  # (T+1, B, H): row 0 is the state before the window
    precision: str


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> RNNActivations:
    """See RecurrentLayer.new_activations."""
    H, dtype = config.hidden, config.dtype
    return RNNActivations(
        a=np.empty((T, B, H), dtype), h=np.empty((T + 1, B, H), dtype), precision=precision
    )


def shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the parameters of a layer with D inputs."""
    return {"Wx": (D, H), "Wh": (H, H), "b": (H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Draw weights from N(0, 1/H); set biases to 0."""
    initialise_weights(parameters, rng)


def forward(
    parameters: Mapping[str, Array],
    x: Array | Ids,
    state: Array,
    activations: RNNActivations,
    symbols: Ids | None = None,
) -> Array:
    """See RecurrentLayer.forward."""
    a, h, precision = activations
    h[0] = state[0]
    projection.forward(parameters, x, a, precision, symbols)
    kernels.rnn_forward(a, h, parameters["Wh"], precision)
    return np.stack((h[-1],))


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: RNNActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    a, h, precision = activations
    dh = dstate[0]
    kernels.rnn_backward(a, dh, dout, h, parameters["Wh"], precision)
    da = a  # the kernel has overwritten `a` with its gradient
    projection.backward(parameters, da, dx, precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: RNNActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    h, da = activations.h, activations.a
    kernels.weight_gradient(rows(h[:-1]), rows(da), gradients["Wh"], activations.precision)


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: RNNActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    da = activations.a
    projection.weight_gradients(gradients, x, da, activations.precision, symbols)
