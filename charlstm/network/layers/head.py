"""The head: a dense layer to the vocabulary, softmax and cross-entropy, for any number of rows."""

from collections.abc import Mapping

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids


def head_shapes(K: int, V: int) -> dict[str, tuple[int, ...]]:
    """The parameters of a head from K units to V symbols."""
    return {"W": (K, V), "b": (V,)}


def head_initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/K), biases 0."""
    W = parameters["W"]
    W[...] = rng.normal(0.0, len(W) ** -0.5, W.shape)
    parameters["b"][...] = 0


def log_probabilities(
    parameters: Mapping[str, Array],
    x: Array,
    out: Array,
    precision: str = "float32",
    table: Array | None = None,
    rows: Ids | None = None,
) -> None:
    """Write log softmax(x W + b) into out (N, V), for x (N, K).

    table, rows (N, n): of n-grams, whose entries are added to the logits.
    """
    kernels.project(x, parameters["W"], out, precision)
    if table is not None and rows is not None:
        kernels.add_rows(table, rows, out)
    kernels.log_softmax(out, parameters["b"])


def cross_entropy(log_probs: Array, targets: Ids) -> Array:
    """The nats of each target (N) under log_probs (N, V)."""
    return -np.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0]


def head_backward(
    parameters: Mapping[str, Array],
    targets: Ids,
    log_probs: Array,
    scales: Array,
    dx: Array,
    precision: str = "float32",
) -> None:
    """Back-propagate the sum of the cross-entropies, each times its scale (N).

    targets (N), log_probs (N, V), which becomes the gradient of the logits. Overwrites dx (N, K).
    """
    kernels.cross_entropy_gradient(log_probs, targets, scales)
    kernels.input_gradient(log_probs, parameters["W"], dx, precision)


def head_gradients(
    gradients: Mapping[str, Array], x: Array, dlogits: Array, precision: str = "float32"
) -> None:
    """Overwrite the gradients of W and b, for x (N, K) and the gradient of the logits (N, V)."""
    kernels.weight_gradient(x, dlogits, gradients["W"], precision)
    np.sum(dlogits, axis=0, out=gradients["b"])
