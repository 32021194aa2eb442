"""The updates of a training step in PyTorch: the optimizers, the average, and the table.

The equations are those of training/optimizers.py, which has them in NumPy. The numbers that change
from step to step are tensors, so that a CUDA graph of a step can be replayed with other numbers.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from charlstm.config import TrainConfig
from charlstm.training.optimizers import Adam, RMSprop, RowAdaGrad, average_decay
from charlstm.training.step import StepSettings


class Numbers(NamedTuple):
    """The numbers of a step, each as a tensor without dimensions.

    kept: the factor by which weight decay shrinks the weights.
    step_size, root_correction: those of Adam; both correct the moments, which start at zero.
    average_step: the part of the way that the average moves towards the weights.
    """

    rate: Tensor
    table_rate: Tensor
    kept: Tensor
    step_size: Tensor
    root_correction: Tensor
    average_step: Tensor

    @staticmethod
    def of_step(config: TrainConfig, settings: StepSettings) -> list[float]:
        """Return the numbers of a step in the order of the fields."""
        rate, step = settings.rate, settings.number
        return [
            rate,
            settings.table_rate,
            1 - rate * config.weight_decay,
            rate / (1 - config.beta1**step),
            (1 - config.beta2**step) ** -0.5,
            1 - average_decay(config.average, step),
        ]


Moments = Mapping[str, Tensor]


def adam(w: Tensor, g: Tensor, moments: Moments, n: Numbers, config: TrainConfig) -> None:
    """Make a step of Adam on the weights w by their gradient g."""
    mean, square = moments["mean"], moments["square"]
    mean.mul_(config.beta1).add_(g, alpha=1 - config.beta1)
    square.mul_(config.beta2).addcmul_(g, g, value=1 - config.beta2)
    w.mul_(n.kept).sub_(n.step_size * mean / (n.root_correction * square.sqrt() + Adam.EPSILON))


def rmsprop(w: Tensor, g: Tensor, moments: Moments, n: Numbers, config: TrainConfig) -> None:
    """Make a step of RMSprop."""
    square = moments["square"]
    square.mul_(config.beta2).addcmul_(g, g, value=1 - config.beta2)
    w.mul_(n.kept).sub_(n.rate * g / (square.sqrt() + RMSprop.EPSILON))


def sgd(w: Tensor, g: Tensor, moments: Moments, n: Numbers, config: TrainConfig) -> None:
    """Make a step of gradient descent with momentum."""
    velocity = moments["velocity"]
    velocity.mul_(config.beta1).add_(g)
    w.mul_(n.kept).sub_(n.rate * velocity)


UPDATES: dict[str, Callable[[Tensor, Tensor, Moments, Numbers, TrainConfig], None]] = {
    "adam": adam,
    "rmsprop": rmsprop,
    "sgd": sgd,
}


def clip(gradient: Tensor, norm: Tensor, config: TrainConfig) -> None:
    """Clip the gradient by its norm, then by value."""
    if config.clip:
        gradient.mul_((config.clip / norm).clamp(max=1))
    if config.clip_value:
        gradient.clamp_(-config.clip_value, config.clip_value)


def update_table(
    table: Tensor, squares: Tensor, rows: Tensor, dlogits: Tensor, rate: Tensor
) -> None:
    """Make a step of AdaGrad on the rows of the n-gram table (R, V) that predictions used.

    squares (R): the sum of each row. rows (N, n): the rows that each prediction used.
    dlogits (N, V): the gradient of the logits.
    """
    met, gradients = sum_by_row(rows, dlogits)
    squares.index_add_(0, met, gradients.square().sum(1))
    gradients *= (rate / (squares[met].sqrt() + RowAdaGrad.EPSILON))[:, None]
    table.index_add_(0, met, gradients, alpha=-1)


def sum_by_row(rows: Tensor, dlogits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows (N * n) that were met, each once, and their gradients (N * n, V).

    The sizes do not depend on the number of rows that differ: the rest is row 0 with gradients of
    zero.
    """
    in_order, order = rows.flatten().sort(stable=True)
    is_new = torch.ones_like(in_order)
    is_new[1:] = in_order[1:] != in_order[:-1]
    place = is_new.cumsum(0) - 1
    met = torch.zeros_like(in_order).index_copy_(0, place, in_order)
    gradients = dlogits.new_zeros(len(order), dlogits.shape[1])
    gradients.index_add_(0, place, dlogits[order // rows.shape[1]])
    return met, gradients
