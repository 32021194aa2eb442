"""A layer of LSTM units over a window of T steps and B lanes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .. import kernels
from ..arrays import Array, Ids
from .projection import projection_backward, projection_forward

STATE_PARTS = 2  # a state is (2, B, H): h, then c


@dataclass
class LSTMWorkspace:
    """The activations of one layer over one window, kept for the backward pass."""

    gates: Array  # (T, B, 4H): i f o g; after the backward pass, their gradients
    h: Array  # (T+1, B, H): row 0 is the state before the window
    c: Array  # (T+1, B, H)
    tanh_c: Array  # (T, B, H)

    @property
    def output(self) -> Array:
        """h_1 .. h_T, (T, B, H)."""
        return self.h[1:]


def lstm_workspace(T: int, B: int, H: int, dtype: str) -> LSTMWorkspace:
    """Room for a window of T steps, B lanes and H units."""
    return LSTMWorkspace(
        gates=np.empty((T, B, 4 * H), dtype),
        h=np.empty((T + 1, B, H), dtype),
        c=np.empty((T + 1, B, H), dtype),
        tanh_c=np.empty((T, B, H), dtype),
    )


def lstm_shapes(D: int, H: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a layer with D inputs and H units; gates in the order i f o g."""
    return {"Wx": (D, 4 * H), "Wh": (H, 4 * H), "b": (4 * H,)}


def lstm_initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/H); biases 0, and 1 for the forget gate (Jozefowicz et al. 2015)."""
    H = len(parameters["Wh"])
    for name in ("Wx", "Wh"):
        parameters[name][...] = rng.normal(0.0, H**-0.5, parameters[name].shape)
    parameters["b"][...] = 0
    parameters["b"][H : 2 * H] = 1


def lstm_forward(
    parameters: Mapping[str, Array], x: Array | Ids, state: Array, workspace: LSTMWorkspace
) -> Array:
    """Run the layer over x, (T, B, D) or ids (T, B), from `state` (2, B, H).

    Leaves the activations in the workspace and returns the new state, (2, B, H).
    """
    w = workspace
    w.h[0], w.c[0] = state
    projection_forward(x, parameters["Wx"], parameters["b"], w.gates)
    kernels.lstm_forward(w.gates, w.h, w.c, w.tanh_c, parameters["Wh"])
    return np.stack((w.h[-1], w.c[-1]))


def lstm_backward(
    parameters: Mapping[str, Array],
    gradients: Mapping[str, Array],
    x: Array | Ids,
    dout: Array,
    dstate: Array,
    workspace: LSTMWorkspace,
    dx: Array | None,
) -> None:
    """Back-propagate dout (T, B, H) and dstate (2, B, H), which comes from after the window.

    Overwrites the layer's gradients, dx (T, B, D) if it is given (it may be dout itself), and
    dstate with the gradient of the state before the window.
    """
    w = workspace
    kernels.lstm_backward(w.gates, dstate[0], dstate[1], dout, w.h, w.c, w.tanh_c, parameters["Wh"])
    H = w.h.shape[-1]
    before, da = w.h[:-1].reshape(-1, H), w.gates.reshape(-1, 4 * H)
    np.matmul(before.T, da, out=gradients["Wh"])
    projection_backward(x, w.gates, parameters["Wx"], gradients["Wx"], gradients["b"], dx)
