"""Optimizers over the flat parameter vector, a block at a time.

A block of weights and its moments stay in the cache through all of its element-wise operations,
and workers update different blocks at once. Weight decay is decoupled from the gradient
(Loshchilov and Hutter 2019): each step takes rate * weight_decay of every weight away.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from charlstm import kernels
from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig

BLOCK = 262_144  # elements; for less, workers wait longer for the interpreter than for memory


class Optimizer(Protocol):
    """`moments` holds vectors as long as the parameters, to be saved with them."""

    moments: dict[str, Array]

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        """Update weights[span] by gradient[span]; `step` counts from 1. Uses up the gradient."""


def blocks(span: slice) -> Iterator[slice]:
    """Cut a span of the vector into blocks."""
    for start in range(span.start, span.stop, BLOCK):
        yield slice(start, min(start + BLOCK, span.stop))


def average_weights(average: Array, weights: Array, span: slice, decay: float, step: int) -> None:
    """Move average[span] towards weights[span], after step `step` (from 1).

    The average is exponential (Polyak and Juditsky 1992 had the plain one). While a run is young
    the decay is (1 + step) / (10 + step), as TensorFlow's ExponentialMovingAverage takes it when it
    is told the step: about the last ninth of the steps counts, and not where they began.
    """
    kept = min(decay, (1 + step) / (10 + step))
    for block in blocks(span):
        change = weights[block] - average[block]
        change *= 1 - kept
        average[block] += change


class Adam:
    """Kingma and Ba 2015: the mean gradient over the root of the mean squared gradient."""

    epsilon = 1e-8

    def __init__(self, config: TrainConfig, like: Array) -> None:
        self.beta1, self.beta2 = config.beta1, config.beta2
        self.weight_decay = config.weight_decay
        self.moments = {"mean": np.zeros_like(like), "square": np.zeros_like(like)}

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        # the moments start at zero; dividing by 1 - beta^step takes that bias off
        step_size = rate / (1 - self.beta1**step)
        root_correction = (1 - self.beta2**step) ** -0.5
        kernels.adam_update(
            weights[span],
            gradient[span],
            self.moments["mean"][span],
            self.moments["square"][span],
            beta1=self.beta1,
            beta2=self.beta2,
            step_size=step_size,
            root_correction=root_correction,
            epsilon=self.epsilon,
            kept=1 - rate * self.weight_decay,
        )


class RMSprop:
    """Hinton 2012: the gradient over the root of the mean squared gradient."""

    epsilon = 1e-8

    def __init__(self, config: TrainConfig, like: Array) -> None:
        self.beta2 = config.beta2
        self.weight_decay = config.weight_decay
        self.moments = {"square": np.zeros_like(like)}

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        for block in blocks(span):
            w, g, square = weights[block], gradient[block], self.moments["square"][block]
            scratch = g * g
            scratch *= 1 - self.beta2
            square *= self.beta2
            square += scratch
            np.sqrt(square, out=scratch)
            scratch += self.epsilon
            np.divide(g, scratch, out=scratch)
            scratch *= rate
            w *= 1 - rate * self.weight_decay
            w -= scratch


class SGD:
    """Gradient descent with momentum (Polyak 1964), beta1 being the momentum; 0 for none."""

    def __init__(self, config: TrainConfig, like: Array) -> None:
        self.momentum = config.beta1
        self.weight_decay = config.weight_decay
        self.moments = {"velocity": np.zeros_like(like)}

    def update(self, weights: Array, gradient: Array, span: slice, rate: float, step: int) -> None:
        for block in blocks(span):
            w, velocity = weights[block], self.moments["velocity"][block]
            velocity *= self.momentum
            velocity += gradient[block]
            w *= 1 - rate * self.weight_decay
            w -= rate * velocity


class RowAdaGrad:
    """For the table of n-grams, of which a step changes a few rows.

    AdaGrad (Duchi et al. 2011) with one sum of squares for each row, that of its gradients' norms:
    the n-th step of a row is some 1 / sqrt(n) of its first one, whose norm is the rate, or less
    where the sums do not start at 0.
    """

    epsilon = 1e-12

    def __init__(self, table: Array, start: float = 0.0) -> None:
        self.moments = {"ngrams": np.full(len(table), start, table.dtype)}

    def update(self, table: Array, span: slice, rows: Ids, dlogits: Array, rate: float) -> None:
        """Update those of table[span] that are among rows (N, n), for the gradient (N, V)."""
        squares = self.moments["ngrams"]
        kernels.update_rows(table, squares, rows, dlogits, span, rate=rate, epsilon=self.epsilon)


# What each keeps beside the weights, as its moments: vectors of their length.
MOMENTS = {"adam": ("mean", "square"), "rmsprop": ("square",), "sgd": ("velocity",)}
_OPTIMIZERS: dict[str, Callable[[TrainConfig, Array], Optimizer]] = {
    "adam": Adam,
    "rmsprop": RMSprop,
    "sgd": SGD,
}


def make_optimizer(config: TrainConfig, parameters: Array) -> Optimizer:
    """The optimizer that `config` names, for a flat parameter vector."""
    return _OPTIMIZERS[config.optimizer](config, parameters)
