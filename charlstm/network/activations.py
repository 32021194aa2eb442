"""What a forward pass over a window leaves for the backward pass."""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import ModelConfig
from charlstm.network.layers import LayerActivations, layer_of
from charlstm.network.precision import resolve_precision


@dataclass
class Activations:
    """The activations of the whole model over a window of T steps and B streams."""

    layers: list[LayerActivations]
    inputs: list[Array | Ids]  # of each layer: the symbols, then masked outputs of the one below
    seen: Array  # (T, B, layers_seen, H): what the head sees, masked outputs of the last layers
    log_probs: Array  # (T * B, V); after the backward pass, the gradient of the logits
    dseen: Array  # as seen: its gradient
    dout: Array  # (T, B, H): the gradient on its way down
    precision: str  # of the operands of matrix products: see kernels.operands
    ngram_rows: Ids  # (T * B, n): those of the table of n-grams that forward found; n is 0 without


def allocate_activations(
    config: ModelConfig, vocabulary: int, T: int, B: int, dropout: bool, precision: str
) -> Activations:
    """See CharModel.workspace."""
    L, H, dtype = config.layers, config.hidden, config.dtype
    precision = resolve_precision(precision, config)
    layers = [layer_of(config).new_activations(config, T, B, precision) for _ in range(L)]
    handed = [np.empty((T, B, H), dtype) if dropout else w.h[1:] for w in layers[:-1]]
    dout = np.empty((T, B, H), dtype)
    if (count := config.layers_seen) > 1:
        seen, dseen = np.empty((2, T, B, count, H), dtype)
    else:
        dseen = dout[:, :, None]
        seen = np.empty_like(dseen) if dropout else layers[-1].h[1:, :, None]
    return Activations(
        layers=layers,
        inputs=[np.empty((T, B), np.intp), *handed],
        seen=seen,
        log_probs=np.empty((T * B, vocabulary), dtype),
        dseen=dseen,
        dout=dout,
        precision=precision,
        ngram_rows=np.empty((T * B, 0), np.intp),
    )


def first_steps(activations: Activations, T: int) -> Activations:
    """What a window of T steps takes of a workspace for more of them, whose memory it shares."""
    longer = len(activations.dout)
    B = activations.dout.shape[1]

    def cut(array: Array) -> Array:  # of T rows, or of one more
        return array[: len(array) - (longer - T)]

    def cut_layer(layer: Any) -> LayerActivations:
        arrays = {
            field.name: cut(value)
            for field in fields(layer)
            if isinstance(value := getattr(layer, field.name), np.ndarray)
        }
        shorter: LayerActivations = replace(layer, **arrays)
        return shorter

    return replace(
        activations,
        layers=[cut_layer(layer) for layer in activations.layers],
        inputs=[cut(x) for x in activations.inputs],
        seen=cut(activations.seen),
        log_probs=activations.log_probs[: T * B],
        dseen=cut(activations.dseen),
        dout=cut(activations.dout),
        ngram_rows=activations.ngram_rows[: T * B],
    )


def by_step(seen: Array) -> Array:
    """(T, B, layers, H) as (T * B, layers * H), a view: what the head sees of each step."""
    T, B, layers, H = seen.shape
    return seen.reshape(T * B, layers * H)
