"""A layer of GRU units: the recurrence of cells.gru_step_forward over a window."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import projection
from charlstm.network.layers.recurrent import initialise_weights, rows

GATES: tuple[str, ...] = ("reset", "update", "candidate")  # blocks of H columns, in this order
STORED_PER_UNIT = 5  # numbers that a forward pass stores per unit and time step
STATE_PARTS = 1


@dataclass
class GRUActivations:
    """The activations of one layer over one window."""

    gates: Array  # (T, B, 3H): r z n; after the backward pass, the gradient of x Wx + b
    h: Array  # (T+1, B, H): row 0 is the state before the window
    candidate: Array  # (T, B, H): (h Wh)_n + bn; after the backward pass, its gradient
    precision: str


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> GRUActivations:
    """Room for a window of T steps and B streams."""
    H, dtype = config.hidden, config.dtype
    return GRUActivations(
        gates=np.empty((T, B, 3 * H), dtype),
        h=np.empty((T + 1, B, H), dtype),
        candidate=np.empty((T, B, H), dtype),
        precision=precision,
    )


def shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a layer with D inputs and H units; gates in the order r z n."""
    return {"Wx": (D, 3 * H), "Wh": (H, 3 * H), "b": (3 * H,), "bn": (H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/H); biases 0, and 1 for the update gate, which keeps the state."""
    initialise_weights(parameters, rng)
    H = len(parameters["Wh"])
    parameters["b"][H : 2 * H] = 1


def forward(
    parameters: Mapping[str, Array],
    x: Array | Ids,
    state: Array,
    activations: GRUActivations,
    symbols: Ids | None = None,
) -> Array:
    """See RecurrentLayer.forward."""
    w = activations
    w.h[0] = state[0]
    projection.forward(parameters, x, w.gates, w.precision, symbols)
    kernels.gru_forward(w.gates, w.h, w.candidate, parameters["Wh"], parameters["bn"], w.precision)
    state_after: Array = w.h[-1:].copy()
    return state_after


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: GRUActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    w = activations
    kernels.gru_backward(w.gates, dstate[0], dout, w.h, w.candidate, parameters["Wh"], w.precision)
    projection.backward(parameters, w.gates, dx, w.precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: GRUActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    w = activations
    before, da, dm = rows(w.h[:-1]), rows(w.gates), rows(w.candidate)
    H = before.shape[1]
    # the recurrent half of the candidate has a gradient of its own: r times that of the other
    recurrent = np.concatenate((da[:, : 2 * H], dm), axis=1)
    kernels.weight_gradient(before, recurrent, gradients["Wh"], w.precision)
    np.sum(dm, axis=0, out=gradients["bn"])


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: GRUActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    w = activations
    projection.weight_gradients(gradients, x, w.gates, w.precision, symbols)
