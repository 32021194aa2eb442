"""A layer of GRU units that reads a window of T time steps of B parallel streams.

The layer has D inputs and H hidden units; its gates are one block of 3H columns in the order r z n.
With * for products element by element, for t = 1 .. T:

    a_t = x_t Wx + b                         x_t (B, D)   Wx (D, 3H)   Wh (H, 3H)   b (3H)
    r, z = sigmoid((a_t + h_{t-1} Wh)[:2H])
    m = (h_{t-1} Wh)[2H:] + bn               bn (H), the recurrent bias of the candidate
    n = tanh(a_t[2H:] + r * m)
    h_t = (1 - z) * n + z * h_{t-1}

and for t = T .. 1, with d for the gradient of the loss, as textbook_cells.py derives it:

    dh_t = dout_t + dh_{t+1} * z_{t+1} + [da_r da_z dm]_{t+1} Wh^T
    da_n = dh_t (1 - z) (1 - n^2)            dm = r da_n
    da_t = [da_n m r (1 - r),  dh_t (h_{t-1} - n) z (1 - z),  da_n]
    dx_t = da_t Wx^T
    dWx += x_t^T da_t    dWh += h_{t-1}^T [da_r da_z dm]
    db += sum of da_t over the streams       dbn += sum of dm

Only the recurrence has to be computed step by step, by kernels.gru_forward and kernels.gru_backward
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

GATES: Mapping[str, str] = {"r": "reset", "z": "update", "n": "candidate"}
STORED_PER_UNIT = 5  # numbers that a unit stores per time step: 3 gates, h and m
STATE_PARTS = 1


class GRUActivations(NamedTuple):
    """The activations of one layer over a window."""

    gates: Array  # (T, B, 3H): r z n of each step; after the backward pass, da
    h: Array  # (T+1, B, H): row 0 is the state before the window
    # (T, B, H): m = (h_{t-1} Wh)[2H:] + bn, before the reset gate is applied; the backward pass
    # overwrites m with its gradient dm
    m: Array
    precision: str


def new_activations(
    config: ModelConfig, T: int, B: int, precision: str = "float32"
) -> GRUActivations:
    """See RecurrentLayer.new_activations."""
    H, dtype = config.hidden, config.dtype
    return GRUActivations(
        gates=np.empty((T, B, 3 * H), dtype),
        h=np.empty((T + 1, B, H), dtype),
        m=np.empty((T, B, H), dtype),
        precision=precision,
    )


def shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the parameters of a layer with D inputs."""
    return {"Wx": (D, 3 * H), "Wh": (H, 3 * H), "b": (3 * H,), "bn": (H,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Draw weights from N(0, 1/H); set the biases of the update gate to 1 and all others to 0.

    With a bias of 1, the update gate at first keeps most of the state h.
    """
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
    gates, h, m, precision = activations
    h[0] = state[0]
    projection.forward(parameters, x, gates, precision, symbols)
    kernels.gru_forward(gates, h, m, parameters["Wh"], parameters["bn"], precision)
    return np.stack((h[-1],))


def backward(
    parameters: Mapping[str, Array],
    dout: Array,
    dstate: Array,
    activations: GRUActivations,
    dx: Array | None,
) -> None:
    """See RecurrentLayer.backward."""
    gates, h, m, precision = activations
    dh = dstate[0]
    kernels.gru_backward(gates, dh, dout, h, m, parameters["Wh"], precision)
    da = gates  # the kernel has overwritten the gates with their gradients
    projection.backward(parameters, da, dx, precision)


def recurrent_gradients(gradients: Mapping[str, Array], activations: GRUActivations) -> None:
    """See RecurrentLayer.recurrent_gradients."""
    h, da, dm = activations.h, rows(activations.gates), rows(activations.m)
    H = dm.shape[1]
    da_h = np.concatenate((da[:, : 2 * H], dm), axis=1)
    kernels.weight_gradient(rows(h[:-1]), da_h, gradients["Wh"], activations.precision)
    np.sum(dm, axis=0, out=gradients["bn"])


def projection_gradients(
    gradients: Mapping[str, Array],
    x: Array | Ids,
    activations: GRUActivations,
    symbols: Ids | None = None,
) -> None:
    """See RecurrentLayer.projection_gradients."""
    da = activations.gates
    projection.weight_gradients(gradients, x, da, activations.precision, symbols)
