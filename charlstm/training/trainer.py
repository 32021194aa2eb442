"""Training by truncated back-propagation through time: one step, shared among worker threads."""

import math
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from charlstm.arrays import Array, Ids, all_finite
from charlstm.config import AUTO, ModelConfig, TrainConfig
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE, Shapes, dense_size
from charlstm.network.stack import state_shape
from charlstm.seeds import generator, generator_to_dict, load_generator
from charlstm.system.threads import Workers, available_cores
from charlstm.text.batches import PADDING, Batches
from charlstm.text.mixed_batches import MixedBatches
from charlstm.training.batching import make_batches
from charlstm.training.engine import Engine, NativeEngine
from charlstm.training.optimizers import (
    OPTIMIZERS,
    Optimizer,
    RowAdaGrad,
    make_optimizer,
)
from charlstm.training.schedules import Schedule
from charlstm.training.step import StepSettings, Trained
from charlstm.untrusted import entry, integer, of_type, real, require_type


class Trainer:
    """Trains a model on a text: a 1-D array of ids, in memory or memory-mapped.

    mix_ids: a second text. The fraction config.mix_share of the streams reads it.

    engine: what computes the steps, such as charlstm.torch_engine.TorchEngine("cuda"); by default
        the kernels of charlstm, whose worker threads share each step (native_step.py,
        layerwise_step.py).

    The table of n-grams, of which a step changes few rows, is trained by AdaGrad at a learning rate
    of its own, without clipping, schedule or average.

    config: the settings given, but with the batch size, sequence length, share of the second text,
        number of workers and precision in use. With a LayerwiseStep, the number of workers sets the
        order of sums, and so the rounding errors.
    total_steps: the number of steps of the run, on which the schedule depends; None while unknown.
        The trainer computes total_steps from config.steps or config.epochs; for a time budget, the
        caller sets total_steps.
    halvings: the number of times that the learning rate was halved because the run diverged.
    gradient_norm: the norm of the last step's gradient, before clipping.

    The threads of a trainer end with the process, or at the end of a block
    `with Trainer(...) as trainer:`.
    """

    def __init__(
        self,
        model: CharModel,
        ids: Ids,
        config: TrainConfig,
        mix_ids: Ids | None = None,
        engine: Engine | None = None,
    ) -> None:
        require_type("model", model, CharModel)
        require_type("config", config, TrainConfig)
        if engine is not None:
            require_type("engine", engine, Engine)
        config.require_chosen("workers", "precision", "eval_every")
        self.engine: Engine = NativeEngine() if engine is None else engine
        self.batches: Batches = make_batches(ids, mix_ids, model, config)
        batch_size, weights = self.batches.batch_size, model.parameters.vector
        config = replace(
            config,
            batch_size=batch_size,
            seq_length=self.batches.seq_length,
            workers=worker_count(config, batch_size),
            precision=self.engine.precision(config.precision, model.config),
        )
        if isinstance(self.batches, MixedBatches):
            config = replace(config, mix_share=self.batches.share)
        self.config: TrainConfig = config
        self.optimizer: Optimizer = make_optimizer(config, weights)
        table = model.parameters.get(NGRAM_TABLE)
        self._table_optimizer = None
        if table is not None:
            # Rows of a trained table count as learned: they move less in their first steps, so that
            # the model forgets less. The rows of a new table are zero.
            one = 1.0 if config.reduction == "sum" else 1 / self.batches.symbols_per_window
            self._table_optimizer = RowAdaGrad(table, one**2 * np.einsum("ij,ij->i", table, table))
        self.schedule: Schedule = Schedule(config)
        averaged = _copy_sharing_table(model) if config.average else None
        state = model.initial_state(batch_size)
        self._trained = Trained(model, averaged, self.optimizer, self._table_optimizer, state)
        self._rng = generator(config.seed, "dropout")
        self._dropout = self.engine.make_dropout(self._trained, config, self._rng)

        self.steps_done: int = 0
        self.halvings: int = 0
        self.total_steps = config.steps
        if config.epochs is not None:
            self.total_steps = max(1, round(config.epochs * self.batches.windows_per_pass))
        self.gradient_norm: float = math.nan
        self._pass_nats, self._pass_count = 0.0, 0  # of this pass: nats, characters

        self._one_step = threading.Lock()  # a step of another thread waits for this one to end
        self.workers: Workers = self.engine.start_workers(config.workers)
        self._step = self.engine.make_step(self._trained, config, self._dropout, self.workers)

    @property
    def model(self) -> CharModel:
        """The model, with the weights after the last step."""
        self._step.fetch()
        return self._trained.model

    @property
    def averaged(self) -> CharModel | None:
        """A model with the moving average of the weights; None without config.average."""
        self._step.fetch()
        return self._trained.averaged

    @property
    def state(self) -> Array:
        """The state (L, S, B, H) of the model before the next window."""
        self._step.fetch()
        return self._trained.state

    @property
    def epoch(self) -> int:
        """The number of completed passes over the text."""
        return self.batches.passes

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        rate = self.schedule.rate(self.steps_done, self.epoch, self.total_steps)
        return rate * 0.5**self.halvings

    @property
    def symbols_per_step(self) -> float:
        """The average number of symbols that a step trains on."""
        return self.batches.symbols_per_window

    def step(self) -> float:
        """Train on the next window of all streams; return its mean loss in nats per character.

        At levels byte and word, the result is the mean loss of a byte or a word.

        A step that is interrupted, as by Ctrl-C, has changed all weights or none, and the next step
        trains on the window after it. If only some weights may have changed, further steps are
        refused. Steps in several threads are made one after the other.
        """
        with self._one_step:
            return self._take_step()

    def _take_step(self) -> float:
        if self._step.is_updating:
            raise CharlstmError(
                "a step was interrupted while it updated the weights: go on from a saved state, in "
                "a new Trainer with load_arrays and load_dict"
            )
        rate = self.learning_rate
        self._reset_states()
        window = self._next_window()
        is_target = window[1:] != PADDING
        count = int(is_target.sum())
        scale = 1.0 if self.config.reduction == "sum" else 1 / count
        # The factor of each target's loss, which is 0 for padding.
        scales = np.where(is_target, scale, 0).astype(self._trained.state.dtype)
        table_rate = self.config.ngram_lr * 0.5**self.halvings
        # Padding comes after the last target that counts, so replacing it by 0, a valid id, has no
        # effect on the loss.
        nats, self.gradient_norm = self._step.take(
            window[:-1].clip(0),
            window[1:].clip(0),
            scales,
            self._dropout.draw(),
            StepSettings(rate, table_rate, self.steps_done + 1),
        )
        self.steps_done += 1
        characters = max(1, self._trained.model.vocab.count_characters(window[1:][is_target]))
        self._count_losses(nats, characters)
        return nats / characters

    def _reset_states(self) -> None:
        """Set the states of streams that begin a text, and of random other streams, to zero."""
        begins = self.batches.begins_text
        if self.config.reset and not begins.all():
            # Resets teach the model to start from a zero state, as samples do.
            begins = begins | (self._rng.random(self.batches.batch_size) < self.config.reset)
        self._step.reset_states(begins)

    def _next_window(self) -> Ids:
        """Return the ids of the next window, (T + 1, B); raise CharlstmError for invalid ids."""
        window = self.batches.next_window()
        model = self._trained.model
        lowest = PADDING if model.config.lines else 0
        if window.min() < lowest or window.max() >= len(model.vocab):
            raise ArgumentError(f"`ids` must be 0 to {len(model.vocab) - 1} for this vocabulary")
        return window

    def _count_losses(self, nats: float, characters: int) -> None:
        """Sum up the losses of a pass step by step; when it ends, give the schedule their mean."""
        self._pass_nats += nats
        self._pass_count += characters
        if self.batches.windows_done == 0:  # the window was the last one of its pass
            self.schedule.end_pass(self._pass_nats / self._pass_count)
            self._pass_nats, self._pass_count = 0.0, 0

    def is_finite(self) -> bool:
        """Return whether all numbers that a step changes are finite."""
        return all(map(all_finite, (*self.model.parameters.values(), *self.arrays().values())))

    # -- saving: with arrays() and to_dict(), training continues bit for bit -----------------------

    @staticmethod
    def array_shapes(
        model: ModelConfig, parameters: Shapes, config: TrainConfig
    ) -> dict[str, tuple[int, ...]]:
        """Return, by name, the shapes of the arrays that Trainer.arrays returns.

        parameters: the shapes of the model's parameters. config: the `config` of the trainer.
        """
        require_type("model", model, ModelConfig)
        require_type("parameters", parameters, Mapping)
        require_type("config", config, TrainConfig)
        weights = (dense_size(parameters),)
        moments = OPTIMIZERS[config.optimizer].MOMENTS
        shapes: dict[str, tuple[int, ...]] = {f"moments.{name}": weights for name in moments}
        if NGRAM_TABLE in parameters:
            shapes["moments.ngrams"] = parameters[NGRAM_TABLE][:1]
        shapes["state"] = state_shape(model, config.batch_size)
        if config.average:
            shapes["average"] = weights
        return shapes

    def arrays(self) -> dict[str, Array]:
        """Return by name the arrays that a step changes in addition to the model's parameters."""
        self._step.fetch()
        arrays = {f"moments.{name}": array for name, array in self.optimizer.moments.items()}
        if self._table_optimizer is not None:
            arrays["moments.ngrams"] = self._table_optimizer.squares
        arrays["state"] = self._trained.state
        if self._trained.averaged is not None:
            arrays["average"] = self._trained.averaged.parameters.vector
        return arrays

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Restore the arrays that arrays() of a trainer of the same model and config returned.

        With an engine that computes elsewhere, as on a GPU, load_arrays also sends the weights of
        the model there.
        """
        require_type("arrays", arrays, dict)
        for name, array in self.arrays().items():
            if name not in arrays or np.shape(arrays[name]) != array.shape:
                raise CharlstmError(f"the saved array {name} is missing or of a wrong shape")
            try:
                array[...] = arrays[name]
            except (TypeError, ValueError):
                raise CharlstmError(f"the saved array {name} must hold numbers") from None
        self._step.send()

    def to_dict(self) -> dict[str, Any]:
        """Return the part of the training state that arrays() leaves out, for JSON."""
        return {
            "steps_done": self.steps_done,
            "halvings": self.halvings,
            "total_steps": self.total_steps,
            "batches": self.batches.to_dict(),
            "dropout": generator_to_dict(self._rng),
            "schedule": self.schedule.to_dict(),
            "pass_nats": self._pass_nats,
            "pass_count": self._pass_count,
        }

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Restore the state that to_dict() of a trainer of the same model and text returned."""
        self.steps_done = integer(saved, "steps_done")
        self.halvings = integer(saved, "halvings", most=1_000)
        end_is_known = entry(saved, "total_steps") is not None
        self.total_steps = integer(saved, "total_steps") if end_is_known else None
        self.batches.load_dict(of_type(dict, saved, "batches"))
        load_generator(self._rng, entry(saved, "dropout"))
        self.schedule.load_dict(of_type(dict, saved, "schedule"))
        self._pass_nats = real(saved, "pass_nats")
        self._pass_count = integer(saved, "pass_count")

    def __repr__(self) -> str:
        total = "" if self.total_steps is None else f" of {self.total_steps:,}"
        unit = self._trained.model.vocab.unit
        return (
            f"Trainer(step {self.steps_done:,}{total}, learning rate {self.learning_rate:.3g}, "
            f"{self.config.batch_size} streams of {self.config.seq_length} {unit}s)"
        )

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied, as threads cannot be; CharlstmError says what to do."""
        raise CharlstmError(
            "a Trainer has threads, and cannot be pickled or copied: keep its model, arrays() and "
            "to_dict(), and restore them in a new Trainer with load_arrays and load_dict"
        )

    def __enter__(self) -> "Trainer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker threads."""
        self.workers.close()


def worker_count(config: TrainConfig, batch_size: int) -> int:
    """Return config.workers, or one worker per core if it is AUTO; at most one per stream."""
    workers = available_cores() if config.workers == AUTO else config.workers
    return min(workers, batch_size)


def _copy_sharing_table(model: CharModel) -> CharModel:
    """Return a copy of the model that shares the model's table of n-grams instead of copying it."""
    copy = CharModel(model.config, model.vocab, seed=None)
    copy.parameters.vector[:] = model.parameters.vector
    copy.parameters.share_table(model.parameters)
    return copy
