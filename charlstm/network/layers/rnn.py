"""A layer of plain recurrent units: the recurrence of cells.rnn_step_forward over a window."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import projection
from charlstm.network.layers.recurrent import initialise_weights, rows

GATES: tuple[str, ...] = ("candidate",)  # blocks of H columns, in this order
STORED_PER_UNIT = 2  # numbers that a forward pass stores per unit and time step
STATE_PARTS = 1


@dataclass
class RNNActivations:
    """The activations of one layer over one window."""

    a: Array  # (T, B, H): pre-activations; after the backward pass, their gradients
    h: Array  # (T+1, B, H): row 0 is the state before the window
    precision: str


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> RNNActivations:
    """Room for a window of T steps and B streams."""
    H, dtype = config.hidden, config.dtype
    return RNNActivations(
        a=np.empty((T, B, H), dtype), h=np.empty((T + 1, B, H), dtype), precision=precision
    )


def shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a layer with D inputs and H units."""
    return {"Wx": (D, H), "Wh": (H, H), "b": (H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/H), biases 0."""
    initialise_weights(parameters, rng)


def forward(
    parameters: Mapping[str, Array],
    x: Array | Ids,
    state: Array,
    activations: RNNActivations,
    symbols: Ids | None = None,
) -> Array:
    """See RecurrentLayer.forward."""
    w = activations
    w.h[0] = state[0]
    projection.forward(parameters, x, w.a, w.precision, symbols)
    kernels.rnn_forward(w.a, w.h, parameters["Wh"], w.precision)
    state_after: Array = w.h[-1:].copy()
    return state_after


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: RNNActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    w = activations
    kernels.rnn_backward(w.a, dstate[0], dout, w.h, parameters["Wh"], w.precision)
    projection.backward(parameters, w.a, dx, w.precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: RNNActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    w = activations
    kernels.weight_gradient(rows(w.h[:-1]), rows(w.a), gradients["Wh"], w.precision)


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: RNNActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    w = activations
    projection.weight_gradients(gradients, x, w.a, w.precision, symbols)
