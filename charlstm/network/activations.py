"""The arrays that a forward pass over a window fills, for the backward pass that follows."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import LayerActivations, layer_of
from charlstm.network.precision import resolve_precision


@dataclass
class Activations:
    """The activations of a model over a window of T steps of B streams."""

    layers: list[LayerActivations]
    inputs: list[Array | Ids]  # per layer: ids (T, B), or outputs of the layer below after dropout
    head_input: Array  # (T, B, layers_seen, H): outputs after dropout, as the head reads them
    # (T * B, n): a row of the table of n-grams for each of n lengths of context; without a table, n
    # is 0.
    ngram_rows: Ids
    log_probs: Array  # (T * B, V): overwritten with the gradient of the logits in the backward pass
    dhead_input: Array  # (T, B, layers_seen, H): the gradient of head_input
    dout: Array  # (T, B, H): the gradient of a layer's output, overwritten from layer to layer
    precision: str  # the precision of the operands of matrix products: see kernels/bfloat16.py

    @property
    def steps(self) -> int:
        """The number T of time steps."""
        return len(self.dout)


def allocate_activations(
    config: ModelConfig, V: int, T: int, B: int, dropout: bool, precision: str
) -> Activations:
    """Allocate the activations of a model of V symbols: see RecurrentStack.new_activations.

    Arrays that always hold the same numbers share memory. For example, without dropout the input of
    a layer is the output of the layer below.
    """
    L, H, dtype = config.layers, config.hidden, config.dtype
    precision = resolve_precision(precision, config)
    layers = [layer_of(config).new_activations(config, T, B, precision) for _ in range(L)]
    inputs = [np.empty((T, B, H), dtype) if dropout else layer.h[1:] for layer in layers[:-1]]
    dout = np.empty((T, B, H), dtype)
    if (count := config.layers_seen) > 1:
        head_input, dhead_input = np.empty((2, T, B, count, H), dtype)
    else:
        dhead_input = dout[:, :, None]
        head_input = np.empty_like(dhead_input) if dropout else layers[-1].h[1:, :, None]
    return Activations(
        layers=layers,
        inputs=[np.empty((T, B), np.intp), *inputs],
        head_input=head_input,
        ngram_rows=np.empty((T * B, max(0, config.ngrams - 1)), np.intp),
        log_probs=np.empty((T * B, V), dtype),
        dhead_input=dhead_input,
        dout=dout,
        precision=precision,
    )


def first_steps(activations: Activations, T: int) -> Activations:
    """Return the activations of the first T steps of a longer window, in the same memory."""
    surplus = activations.steps - T
    B = activations.dout.shape[1]

    def cut(array: Array) -> Array:  # `array` has one row per time step, or one row more
        return array[: len(array) - surplus]

    def cut_layer(layer: Any) -> LayerActivations:
        arrays = {k: cut(v) for k, v in layer._asdict().items() if isinstance(v, np.ndarray)}
        shorter: LayerActivations = layer._replace(**arrays)
        return shorter

    return replace(
        activations,
        layers=[cut_layer(layer) for layer in activations.layers],
        inputs=[cut(x) for x in activations.inputs],
        head_input=cut(activations.head_input),
        ngram_rows=activations.ngram_rows[: T * B],
        log_probs=activations.log_probs[: T * B],
        dhead_input=cut(activations.dhead_input),
        dout=cut(activations.dout),
    )


def flat_rows(head_input: Array) -> Array:
    """Return a view of (T, B, layers, H) as (T * B, layers * H): a row for each step and stream."""
    T, B, layers, H = head_input.shape
    return head_input.reshape(T * B, layers * H)
