"""What every recurrent layer offers: the modules lstm, capped, gru and rnn each are one."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig


class LayerActivations(Protocol):
    """The activations of one layer over a window, kept for its backward pass."""

    h: Array  # (T+1, B, H): row 0 is the state before the window, rows 1..T are the output
    precision: str  # of the operands of matrix products: see kernels.operands


class RecurrentLayer(Protocol):
    """A layer of H units over a window of T steps and B streams; x is (T, B, D) or ids (T, B).

    A state is (S, B, H), with S = STATE_PARTS: the hidden state first. Symbols (T, B) are ids that
    a layer with parameters Wi (V, N) sees beside a dense x, for Wx (D, N).
    """

    GATES: tuple[str, ...]
    STORED_PER_UNIT: int
    STATE_PARTS: int

    def shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """The parameters of a layer with D inputs."""

    def initialise(self, parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Fill the parameters with fresh values."""

    def new_activations(
        self, config: ModelConfig, T: int, B: int, precision: str = "float32"
    ) -> LayerActivations:
        """Room for a window, for forward and backward of the same layer.

        precision: rounding of the operands of matrix products, "bfloat16", or "float32" for none.
        """

    def forward(
        self,
        parameters: Mapping[str, Array],
        x: Array | Ids,
        state: Array,
        activations: Any,
        symbols: Ids | None = None,
    ) -> Array:
        """Leave the activations in the workspace; return the state after the window."""

    def backward(
        self,
        parameters: Mapping[str, Array],
        dout: Array,
        dstate: Array,
        activations: Any,
        dx: Array | None,
    ) -> None:
        """Back-propagate dout (T, B, H) and dstate (S, B, H), which comes from after the window.

        Overwrites dx (T, B, D) if it is given (it may be dout itself), and dstate with the gradient
        of the state before the window. Uses up the activations, and leaves what the gradients of
        the weights are made of in their place.
        """

    def recurrent_gradients(self, gradients: Mapping[str, Array], activations: Any) -> None:
        """Overwrite the gradients of Wh and of a recurrent bias, after a backward pass."""

    def projection_gradients(
        self,
        gradients: Mapping[str, Array],
        x: Array | Ids,
        activations: Any,
        symbols: Ids | None = None,
    ) -> None:
        """Overwrite the gradients of Wx, b and Wi, after a backward pass."""


def initialise_weights(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/H), biases 0."""
    H = len(parameters["Wh"])
    for name, array in parameters.items():
        array[...] = rng.normal(0.0, H**-0.5, array.shape) if name.startswith("W") else 0


def rows(x: Array) -> Array:
    """(T, B, N) as (T * B, N), a view."""
    return x.reshape(-1, x.shape[-1])
