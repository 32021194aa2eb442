"""The head: a dense layer from K units to the vocabulary of V symbols, softmax and cross-entropy.

It takes N independent rows: one for each time step of each stream.
"""

from collections.abc import Mapping

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids


def shapes(K: int, V: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the parameters."""
    return {"W": (K, V), "b": (V,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Weights from N(0, 1/K), biases 0."""
    W = parameters["W"]
    W[...] = rng.normal(0.0, len(W) ** -0.5, W.shape)
    parameters["b"][...] = 0


def forward(
    parameters: Mapping[str, Array],
    x: Array,
    out: Array,
    precision: str = "float32",
    table: Array | None = None,
    rows: Ids | None = None,
) -> None:
    """Write log softmax(x W + b) into out (N, V), for x (N, K).

    table (slots, V), rows (N, n): of n-grams. The n rows of the table are added to the logits.
    """
    kernels.project(x, parameters["W"], out, precision)
    if table is not None and rows is not None:
        kernels.add_ngram_logits(table, rows, out)
    kernels.log_softmax(out, parameters["b"])


def cross_entropy(log_probs: Array, targets: Ids) -> Array:
    """The loss (N) of each target (N) under log_probs (N, V), in nats."""
    return -np.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0]


def backward(
    parameters: Mapping[str, Array],
    targets: Ids,
    log_probs: Array,
    scales: Array,
    dx: Array,
    precision: str = "float32",
) -> None:
    """Back-propagate the sum over N of scales (N) times the cross-entropy of targets (N).

    Overwrites log_probs (N, V) with the gradient of the logits, and dx (N, K).
    """
    kernels.cross_entropy_gradient(log_probs, targets, scales)
    kernels.input_gradient(log_probs, parameters["W"], dx, precision)


def weight_gradients(
    gradients: Mapping[str, Array], x: Array, dlogits: Array, precision: str = "float32"
) -> None:
    """Overwrite the gradients of W and b, for x (N, K) and the gradient of the logits (N, V)."""
    kernels.weight_gradient(x, dlogits, gradients["W"], precision)
    np.sum(dlogits, axis=0, out=gradients["b"])
