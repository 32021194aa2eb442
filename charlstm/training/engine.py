"""Engine: what computes the steps of a training and the losses of evaluations.

NativeEngine is the engine of this package: kernels in C or NumPy, on the processor. Another engine
is charlstm.torch_engine, on any device of PyTorch.
"""

from typing import Protocol, runtime_checkable

import numpy as np

from charlstm import kernels
from charlstm.config import AUTO, ModelConfig, Precision, TrainConfig
from charlstm.network.dropout import Dropout
from charlstm.network.model import CharModel
from charlstm.network.precision import explain_precision, resolve_precision
from charlstm.system.threads import Workers
from charlstm.training.layerwise_step import LayerwiseStep
from charlstm.training.native_step import NativeStep
from charlstm.training.step import Exchange, Step, Trained


@runtime_checkable
class Engine(Protocol):
    """What computes the steps of a training and the losses of evaluations.

    name, device: the values of the options `engine` and `device`.
    description: the engine in words: its kernels, or its device.
    reason: why this device computes, in words; "" if there is no choice.
    """

    name: str
    device: str
    description: str
    reason: str

    def precision(self, asked: str, model: ModelConfig) -> Precision:
        """Return the precision of the operands of matrix products that `asked` stands for."""

    def explain_precision(self, asked: str, model: ModelConfig) -> str:
        """Return the precision in words, with the reason in brackets."""

    def start_workers(self, count: int) -> Workers:
        """Return the threads that share the work of evaluations, and of steps if they need any."""

    def make_dropout(
        self, trained: Trained, config: TrainConfig, rng: np.random.Generator
    ) -> Dropout:
        """Return the source of the masks of training steps: see Dropout."""

    def make_step(
        self,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
        exchange: Exchange | None = None,
    ) -> Step:
        """Return the object that makes training steps.

        dropout: the source of their masks. workers: those of start_workers.
        exchange: gets the gradients of all processes, if there are several.
        """

    def to_evaluate(self, model: CharModel) -> CharModel:
        """Return a model of the same weights whose losses this engine computes."""


class NativeEngine:
    """The kernels of charlstm, on the processor."""

    name: str = "native"
    device: str = AUTO
    reason: str = ""

    def __init__(self) -> None:
        self.description: str = kernels.DESCRIPTION

    def precision(self, asked: str, model: ModelConfig) -> Precision:
        """See Engine.precision."""
        return resolve_precision(asked, model)

    def explain_precision(self, asked: str, model: ModelConfig) -> str:
        """See Engine.explain_precision."""
        return explain_precision(asked, model)

    def start_workers(self, count: int) -> Workers:
        """Return `count` workers."""
        return Workers(count)

    def make_dropout(
        self, trained: Trained, config: TrainConfig, rng: np.random.Generator
    ) -> Dropout:
        """See Engine.make_dropout."""
        model, streams = trained.model.config, trained.batch_size
        return Dropout(model, config, streams, trained.recurrent, rng)

    def make_step(
        self,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
        exchange: Exchange | None = None,
    ) -> Step:
        """Return a native step if the kernels can make one, else a step layer by layer."""
        native = kernels.can_train(trained.model.config, config.precision)
        kind = NativeStep if native else LayerwiseStep
        return kind(trained, config, dropout, workers, exchange)

    def to_evaluate(self, model: CharModel) -> CharModel:
        """Return the model itself."""
        return model
