"""The head: a dense layer from K units to the vocabulary of V symbols, softmax and cross-entropy.

Its input has N independent rows: one for each time step of each stream.
"""

from collections.abc import Mapping

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids


def shapes(K: int, V: int) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the parameters."""
    return {"W": (K, V), "b": (V,)}


def initialise(parameters: Mapping[str, Array], rng: np.random.Generator) -> None:
    """Draw weights from N(0, 1/K); set biases to 0."""
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

    table (R, V): the n-gram table. rows (N, n): the indices of the n table rows that are added
        to each row of logits.
    """
    kernels.project(x, parameters["W"], out, precision)
    if table is not None and rows is not None:
        kernels.add_ngram_logits(table, rows, out)
    kernels.log_softmax(out, parameters["b"])


def cross_entropy(log_probs: Array, targets: Ids) -> Array:
    """Return the cross-entropy (N), in nats, of each target (N) under log_probs (N, V)."""
    return -np.take_along_axis(log_probs, targets[:, None], axis=1)[:, 0]


def backward(
    parameters: Mapping[str, Array],
    targets: Ids,
    log_probs: Array,
    scales: Array,
    dx: Array,
    precision: str = "float32",
) -> None:
    """Back-propagate the loss sum_n scales[n] * cross_entropy(targets[n]).

    Overwrites log_probs (N, V) with the gradient of the logits, and dx (N, K) with that of x.
    """
    kernels.cross_entropy_gradient(log_probs, targets, scales)
    kernels.input_gradient(log_probs, parameters["W"], dx, precision)


def weight_gradients(
    gradients: Mapping[str, Array], x: Array, dlogits: Array, precision: str = "float32"
) -> None:
    """Overwrite the gradients of W and b, for x (N, K) and the gradient of the logits (N, V)."""
    kernels.weight_gradient(x, dlogits, gradients["W"], precision)
    np.sum(dlogits, axis=0, out=gradients["b"])
