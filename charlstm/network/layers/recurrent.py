"""The interface of a recurrent layer, which the modules lstm, gru and rnn implement."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig


class LayerActivations(Protocol):
    """The activations of one layer over a window, kept for its backward pass."""

    @property
    def h(self) -> Array:
        """(T+1, B, H): row 0 is the state before the window, rows 1..T are the output."""

    @property
    def precision(self) -> str:
        """The precision of the operands of matrix products: see kernels/bfloat16.py."""


class RecurrentLayer(Protocol):
    """A layer of H units that reads a window of T time steps of B parallel streams.

    x (T, B, D): inputs, or ids (T, B), each of which stands for a one-hot vector of length D.
    symbols (T, B): in a network with skip connections, the ids that a layer above the first reads
        in addition to x; None for all other layers. Row Wi[id] of the layer's parameter Wi (V, N)
        is added to x Wx.
    state (S, B, H): S = STATE_PARTS arrays, of which the first is the hidden state.

    Not `backward`, but recurrent_gradients and projection_gradients compute the gradients of the
    weights. No other gradient depends on the gradients of the weights, so any idle thread may
    compute them later.
    """

    GATES: Mapping[str, str]  # letter and name of each block of H columns in Wx, Wh and b
    STORED_PER_UNIT: int  # numbers that a forward pass stores per unit, stream and time step
    STATE_PARTS: int  # number of arrays (B, H) that make up the state between two windows

    def shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the parameters of a layer with D inputs."""

    def initialise(self, parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Overwrite the parameters with random initial values."""

    def new_activations(
        self, config: ModelConfig, T: int, B: int, precision: str = "float32"
    ) -> LayerActivations:
        """Allocate the activations of a window of T steps of B streams.

        The activations may be used for any number of windows.
        precision: "bfloat16" rounds the operands of matrix products, "float32" does not.
        """

    def forward(
        self,
        parameters: Mapping[str, Array],
        x: Array | Ids,
        state: Array,
        activations: Any,
        symbols: Ids | None = None,
    ) -> Array:
        """Fill the activations; return the state after the window."""

    def backward(
        self,
        parameters: Mapping[str, Array],
        dout: Array,
        dstate: Array,
        activations: Any,
        dx: Array | None,
    ) -> None:
        """Back-propagate through the layer, from its output to its input.

        dout (T, B, H): the gradient of the output h.
        dstate (S, B, H): the gradient of the state after the window; overwritten with the gradient
            of the state before the window.
        dx (T, B, D): overwritten with the gradient of x; may be the same array as dout; None if x
            consists of ids.
        activations: the arrays that `forward` filled. Some of the arrays are overwritten with
            their gradients, which recurrent_gradients and projection_gradients read.
        """

    def recurrent_gradients(self, gradients: Mapping[str, Array], activations: Any) -> None:
        """Overwrite the gradient of Wh and, in a GRU, of bn; to call after `backward`."""

    def projection_gradients(
        self,
        gradients: Mapping[str, Array],
        x: Array | Ids,
        activations: Any,
        symbols: Ids | None = None,
    ) -> None:
        """Overwrite the gradients of Wx, b and, with symbols, Wi; to call after `backward`."""


def initialise_weights(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Draw weights from N(0, 1/H) and set biases to 0."""
    H = len(parameters["Wh"])
    for name, array in parameters.items():
        array[...] = rng.normal(0.0, H**-0.5, array.shape) if name.startswith("W") else 0


def rows(x: Array) -> Array:
    """Return a view of (T, B, N) as (T * B, N): one row for each time step of each stream."""
    return x.reshape(-1, x.shape[-1])
