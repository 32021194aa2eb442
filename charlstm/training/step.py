"""A training step: its data, and the base class of the classes that make it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig
from charlstm.network.dropout import Masks
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.system.threads import Workers, share
from charlstm.text.batches import Flags
from charlstm.training.optimizers import Optimizer, RowAdaGrad, average_weights


class Trained(NamedTuple):
    """All that a training step changes.

    averaged: a model with the moving average of the weights; None without config.average.
    table_optimizer: that of the table of n-grams; None for a model without one.
    state (L, S, B, H): the state of the model before the next window.
    """

    model: CharModel
    averaged: CharModel | None
    optimizer: Optimizer
    table_optimizer: RowAdaGrad | None
    state: Array

    @property
    def batch_size(self) -> int:
        """The number of streams B."""
        return int(self.state.shape[2])

    @property
    def recurrent(self) -> list[Array]:
        """The matrix Wh of each layer."""
        parameters, layers = self.model.parameters, self.model.config.layers
        return [parameters[f"layers.{k}.Wh"] for k in range(layers)]


class Gradients(NamedTuple):
    """All that the update of a step follows from, in arrays, or in tensors of PyTorch.

    weights: the flat gradient of all weights but the table of n-grams.
    nats: (), the sum of the losses.
    rows (N, n), dlogits (N, V): the rows of the table that each of N predictions used, and the
        gradient of its logits; None for a model without a table.
    """

    weights: Any
    nats: Any
    rows: Any = None
    dlogits: Any = None


# Returns the gradients of all streams from those of some: the other processes have the rest.
Exchange = Callable[[Gradients], Gradients]


class StepSettings(NamedTuple):
    """The settings that change from step to step.

    rate: the learning rate. table_rate: that of the table of n-grams. number: of the step, from 1.
    """

    rate: float
    table_rate: float
    number: int


class Step(ABC):
    """A way to make training steps.

    A step that raises an exception has changed all arrays that it changes, or none, unless
    `is_updating` is still true after it.

    is_updating: whether the weights are being updated, and may be partly those after the step.
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self.is_updating: bool = False

    def reset_states(self, streams: Flags) -> None:
        """Set the states of some of the streams (B,) to zero."""
        self._trained.state[:, :, streams] = 0

    def fetch(self) -> None:  # noqa: B027  # most steps compute in these arrays
        """Write into the arrays of `trained` the numbers after the last step.

        This does nothing unless the steps are computed elsewhere, as on a GPU.
        """

    def send(self) -> None:  # noqa: B027  # as above
        """Go on with the numbers that the arrays of `trained` hold now: the opposite of fetch."""

    @abstractmethod
    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """Train on a window; return the sum of its losses in nats, and the norm of the gradient.

        inputs, targets (T, B): ids. scales (T, B): the factor of each target's loss, 0 for targets
            that do not count, whose losses are left out of the sum.
        The norm is that before clipping.
        """


def update_all(
    trained: Trained,
    gradients: Gradients,
    norm: float,
    config: TrainConfig,
    settings: StepSettings,
    workers: Workers,
) -> None:
    """Clip the gradient, and update all weights: each worker has its own span of them."""

    def update(k: int) -> None:
        span = share(len(gradients.weights), workers.count, k)
        clip_gradient(gradients.weights[span], norm, config)
        update_weights(trained, gradients.weights, span, config, settings)
        if trained.table_optimizer is not None:
            table = trained.model.parameters[NGRAM_TABLE]
            rows = share(len(table), workers.count, k)
            trained.table_optimizer.update(
                table, rows, gradients.rows, gradients.dlogits, settings.table_rate
            )

    workers.run(update)


def update_weights(
    trained: Trained, gradient: Array, span: slice, config: TrainConfig, settings: StepSettings
) -> None:
    """Update the weights of a span by their clipped gradient, then the average of the weights."""
    weights = trained.model.parameters.vector
    trained.optimizer.update(weights, gradient, span, settings.rate, settings.number)
    if trained.averaged is not None:
        average = trained.averaged.parameters.vector
        average_weights(average, weights, span, config.average, settings.number)


def clip_gradient(gradient: Array, norm: float, config: TrainConfig) -> None:
    """Clip a part of the gradient by the norm of the whole gradient, then by value."""
    if config.clip and norm > config.clip:
        gradient *= config.clip / norm
    if config.clip_value:
        np.clip(gradient, -config.clip_value, config.clip_value, out=gradient)
