"""Optimizers over the flat parameter vector.

Workers update different spans of the vector at the same time. A worker updates its span block by
block: the weights of a block and their moments then stay in the processor's cache through all
element-wise operations. Weight decay is decoupled from the gradient (Loshchilov and Hutter 2019):
each step subtracts (rate * weight_decay * weight) from each weight.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig

# Number of weights in a block. With smaller blocks, workers mostly wait for the global interpreter
# lock.
BLOCK = 262_144


class Optimizer(ABC):
    """Changes weights by their gradient.

    moments: for each name in MOMENTS, a vector as long as the weights, initially zero and
        saved with the weights.
    """

    MOMENTS: ClassVar[tuple[str, ...]]

    def __init__(self, config: TrainConfig, weights: Array) -> None:
        self.beta1: float = config.beta1
        self.beta2: float = config.beta2
        self.weight_decay: float = config.weight_decay
        self.moments: dict[str, Array] = {name: np.zeros_like(weights) for name in self.MOMENTS}

    @abstractmethod
    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        """Update weights[span] by gradient[span], which is overwritten; `step` counts from 1."""


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015): a step is rate * mean gradient / root of mean squared gradient."""

    MOMENTS = ("mean", "square")
    EPSILON = 1e-8

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        kernels.adam_update(
            weights[span],
            gradient[span],
            self.moments["mean"][span],
            self.moments["square"][span],
            **self.constants(rate, step),
        )

    def constants(self, rate: float, step: int) -> dict[str, float]:
        """Return the numbers of a step, by the names of the arguments of kernels.adam_update."""
        # The moments start at zero. Dividing them by 1 - beta^step corrects the bias towards zero.
        return {
            "beta1": self.beta1,
            "beta2": self.beta2,
            "step_size": rate / (1 - self.beta1**step),
            "root_correction": (1 - self.beta2**step) ** -0.5,
            "epsilon": self.EPSILON,
            "kept": 1 - rate * self.weight_decay,
        }


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012): a step is rate * gradient / root of mean squared gradient."""

    MOMENTS = ("square",)
    EPSILON = 1e-8

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        for block in blocks(span):
            w, g, square = weights[block], gradient[block], self.moments["square"][block]
            scratch = g * g
            scratch *= 1 - self.beta2
            square *= self.beta2
            square += scratch
            np.sqrt(square, out=scratch)
            scratch += self.EPSILON
            np.divide(g, scratch, out=scratch)
            scratch *= rate
            w *= 1 - rate * self.weight_decay
            w -= scratch


class SGD(Optimizer):
    """Gradient descent with momentum beta1 (Polyak 1964); a beta1 of 0 means no momentum."""

    MOMENTS = ("velocity",)

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        for block in blocks(span):
            w, velocity = weights[block], self.moments["velocity"][block]
            velocity *= self.beta1
            velocity += gradient[block]
            w *= 1 - rate * self.weight_decay
            w -= rate * velocity


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "rmsprop": RMSprop, "sgd": SGD}


def make_optimizer(config: TrainConfig, weights: Array) -> Optimizer:
    """Return the optimizer that `config` names, for a flat vector of weights."""
    return OPTIMIZERS[config.optimizer](config, weights)


class RowAdaGrad:
    """AdaGrad (Duchi et al. 2011) for the table of n-grams, of which a step changes few rows.

    For each row, it keeps the sum of the squared norms of the row's gradients. The n-th update of a
    row moves the row by about rate / sqrt(n), and by less if its sum starts above 0.

    squares: (rows,) the sum of each row, which is saved with the weights.
    start: the first sum of each row, as one number or as numbers (rows,).
    """

    EPSILON = 1e-12

    def __init__(self, table: Array, start: float | Array = 0.0) -> None:
        self.squares: Array = np.full(len(table), start, table.dtype)

    def update(self, table: Array, span: slice, rows: Ids, dlogits: Array, rate: float) -> None:
        """Update the rows of table[span] that predictions used.

        rows: (N, n) the indices of the n table rows that each of N predictions used.
        dlogits: (N, V) the gradient of each prediction's logits, which are a sum with its n rows:
            the gradient of each of these rows is the same.
        """
        kernels.update_ngram_rows(
            table, self.squares, rows, dlogits, span, rate=rate, epsilon=self.EPSILON
        )


def average_weights(average: Array, weights: Array, span: slice, decay: float, step: int) -> None:
    """Move average[span] towards weights[span] after step `step`, which counts from 1.

    The average is an exponential moving average (Polyak and Juditsky 1992 take the plain mean).
    """
    for block in blocks(span):
        change = weights[block] - average[block]
        change *= 1 - average_decay(decay, step)
        average[block] += change


def average_decay(decay: float, step: int) -> float:
    """Return the decay of the average of the weights at step `step`, which counts from 1.

    Early in a run, the decay is (1 + step) / (10 + step), as in TensorFlow's
    ExponentialMovingAverage with num_updates. With this decay, the average covers about the last
    ninth of the steps, and not the initial weights.
    """
    return min(decay, (1 + step) / (10 + step))


def blocks(span: slice) -> Iterator[slice]:
    """Cut a span into blocks of BLOCK elements; the last block may be shorter."""
    for start in range(span.start, span.stop, BLOCK):
        yield slice(start, min(start + BLOCK, span.stop))
