"""One step of training by truncated back-propagation through time, over all workers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids, all_finite
from charlstm.config import AUTO, ModelConfig, TrainConfig
from charlstm.errors import CharlstmError
from charlstm.network.activations import Activations, first_steps
from charlstm.network.dropout import Dropout, Masks
from charlstm.network.layers import layer_of
from charlstm.network.layers.head import cross_entropy
from charlstm.network.layers.ngrams import history_layers
from charlstm.network.memory_needs import activation_bytes, bytes_of_weights
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE, Shapes, dense_size
from charlstm.network.precision import resolve_precision
from charlstm.seeds import generator, generator_to_dict, load_generator
from charlstm.system.memory import require_memory
from charlstm.system.threads import Tasks, Workers, available_cores, one_blas_thread, share
from charlstm.text.batches import (
    PADDING,
    STEPS_MULTIPLE,
    Batches,
    LineBatches,
    StreamBatches,
    fit_batch,
)
from charlstm.text.vocab import line_end
from charlstm.training.optimizers import (
    MOMENTS,
    RowAdaGrad,
    average_weights,
    blocks,
    make_optimizer,
)
from charlstm.training.schedules import Schedule
from charlstm.untrusted import integer, real


def training_array_shapes(
    model: ModelConfig, parameters: Shapes, config: TrainConfig
) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the arrays that Trainer.saved gives, and restore takes.

    parameters: those of the model. config: as a trainer has completed it.
    """
    total = dense_size(parameters)
    shapes: dict[str, tuple[int, ...]] = {
        f"moments.{name}": (total,) for name in MOMENTS[config.optimizer]
    }
    parts = layer_of(model).STATE_PARTS
    if NGRAM_TABLE in parameters:
        shapes["moments.ngrams"] = parameters[NGRAM_TABLE][:1]
    layers = model.layers + history_layers(model.ngrams, parts, model.hidden)
    shapes["state"] = (layers, parts, config.batch_size, model.hidden)
    if config.average:
        shapes["average"] = (total,)
    return shapes


def cores_for(config: TrainConfig) -> int:
    """The number of workers asked for, or one for each core."""
    return available_cores() if config.workers == AUTO else config.workers


class Trainer:
    """Trains a model on a 1-D array of ids, in memory or memory-mapped.

    Each worker thread has some of the streams; their gradients meet once a step. The number of
    workers fixes the order of that sum, hence the last bits: `config` holds it once it is known,
    and so it does with the precision that "auto" stands for.

    averaged is a model of the moving average of the weights, None without config.average.

    halvings is how often the rate of the schedule has been halved, as a run does that went wrong.

    The table of n-grams, of which a step changes few rows, is learned by AdaGrad at a rate of its
    own, without clipping, schedule or average.

    total_steps is what the schedule counts to: from config.steps or config.epochs, or set from
    outside for a run with a time budget; None while no end is known.
    """

    def __init__(self, model: CharModel, ids: Ids, config: TrainConfig) -> None:
        config.require_chosen("workers", "precision", "eval_every")
        self.model = model
        precision = resolve_precision(config.precision, model.config)
        if np.ndim(ids) != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise CharlstmError("ids must be a 1-D array of whole numbers")
        rng = generator(config.seed, "batches")
        self.batches: Batches
        if model.config.lines:
            end = line_end(model.vocab)
            self.batches = LineBatches(ids, end, config.batch_size, config.seq_length, rng)
        else:
            self.batches = StreamBatches(
                ids, config.batch_size, config.seq_length, rng, config.recut
            )
        workers = min(cores_for(config), self.batches.batch_size)
        self.config = replace(
            config,
            batch_size=self.batches.batch_size,
            seq_length=self.batches.seq_length,
            workers=workers,
            precision=precision,
        )
        self.workers = Workers(workers)
        self.optimizer = make_optimizer(config, model.parameters.vector)
        table = model.parameters.get(NGRAM_TABLE)
        self._table_optimizer = None if table is None else RowAdaGrad(table)
        self.averaged: CharModel | None = None
        if config.average:
            self.averaged = CharModel(model.config, model.vocab)
            self.averaged.parameters.vector[:] = model.parameters.vector
            self.averaged.parameters.share_table(model.parameters)
        self.schedule = Schedule(config)
        self.total_steps = config.steps
        if config.epochs is not None:
            self.total_steps = max(1, round(config.epochs * self.batches.windows_per_pass))
        self._pass_nats, self._pass_count = 0.0, 0  # of the pass so far
        self.steps_done = 0
        self.halvings = 0
        self.gradient_norm = math.nan  # of the last step, before clipping
        self.state = model.initial_state(self.batches.batch_size)
        self._dropout_rng = generator(config.seed, "dropout")
        recurrent = [model.parameters[f"layers.{k}.Wh"] for k in range(model.config.layers)]
        self._dropout = Dropout(
            model.config, config, self.batches.batch_size, recurrent, self._dropout_rng
        )
        # what each worker owns
        self._shares = [share(self.batches.batch_size, workers, k) for k in range(workers)]
        self._spans = [share(len(model.parameters.vector), workers, k) for k in range(workers)]
        self._activations: list[Activations | None] = [None] * workers
        self._gradients = [model.parameters.like_vector() for _ in range(workers)]

    @property
    def epoch(self) -> int:
        """Finished passes over the text."""
        return self.batches.passes

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        rate = self.schedule.rate(self.steps_done, self.epoch, self.total_steps)
        return rate * 0.5**self.halvings

    @property
    def characters_per_step(self) -> float:
        """Symbols that a step learns from, on the average."""
        return self.batches.symbols_per_window

    def step(self) -> float:
        """Train on the next window of all streams; return its mean loss in nats a symbol."""
        rate = self.learning_rate
        if self.batches.starts_afresh:
            self.state[...] = 0
        elif self.config.reset:
            # so that the model also learns to begin, which it has to when it is sampled from
            begins = self._dropout_rng.random(self.batches.batch_size) < self.config.reset
            self.state[:, :, begins] = 0
        passes = self.batches.passes
        window = self.batches.next_window()
        lowest = PADDING if self.model.config.lines else 0
        if window.min() < lowest or window.max() >= len(self.model.vocab):
            raise CharlstmError(f"ids must be 0 to {len(self.model.vocab) - 1}, as the vocabulary")
        counted = window[1:] != PADDING
        count = int(counted.sum())
        scale = 1.0 if self.config.reduction == "sum" else 1 / count
        scales = np.where(counted, scale, 0).astype(self.state.dtype)
        masks = self._dropout.draw()
        with one_blas_thread():
            tasks = Tasks()
            parts = self.workers.run(
                lambda k: self._forward_backward(k, window, scales, masks, tasks)
            )
            losses = [loss for loss, _ in parts]
            used = [activations for _, activations in parts]
            squares = self.workers.run(self._sum_gradients)
            self.gradient_norm = math.sqrt(sum(squares))
            self.workers.run(lambda k: self._update(k, rate, used))
        self.steps_done += 1
        self._pass_nats += sum(losses)
        self._pass_count += count
        if self.batches.passes > passes:
            self.schedule.end_pass(self._pass_nats / self._pass_count)
            self._pass_nats, self._pass_count = 0.0, 0
        return sum(losses) / count

    def _forward_backward(
        self, k: int, window: Ids, scales: Array, masks: Masks, tasks: Tasks
    ) -> tuple[float, Activations]:
        """The summed loss of worker k's streams, and its workspace; leaves its part of the gradient.

        scales (T, B): the factor of each target's loss in the whole, 0 for padding. tasks: what is
        left to do when the streams have been followed back, of all workers.
        """
        streams = self._shares[k]
        own_scales = scales[:, streams].reshape(-1)
        # what follows padding does not count, so that any symbol will do in its place
        inputs, targets = window[:-1, streams].clip(0), window[1:, streams].clip(0)
        own_masks = masks.of_streams(streams)
        activations = self._activations_for(k, *inputs.shape)
        self.state[:, :, streams] = self.model.forward(
            inputs, self.state[:, :, streams], activations, own_masks
        )
        losses = cross_entropy(activations.log_probs, targets.reshape(-1))
        loss = losses.sum(where=own_scales != 0, dtype=np.float64)
        self.model.backward_activations(targets, activations, own_scales, own_masks)
        tasks.work(self.model.weight_gradients(activations, self._gradients[k], own_masks))
        return float(loss), activations

    def _activations_for(self, k: int, T: int, B: int) -> Activations:
        """Worker k's own for windows of T steps: a part of one for the most steps so far."""
        longest = self._activations[k]
        if longest is None or len(longest.dout) < T:
            longest = self._activations[k] = None  # which lets go of it before there is another
            longest = self._activations[k] = self.model.new_activations(
                T, B, self._dropout.drops_outputs, self.config.precision
            )
        return longest if len(longest.dout) == T else first_steps(longest, T)

    def _sum_gradients(self, k: int) -> float:
        """Add all workers' gradients into the first one's, over span k; its sum of squares."""
        total, *others = (gradients.vector for gradients in self._gradients)
        squares = 0.0
        for block in blocks(self._spans[k]):
            for other in others:
                total[block] += other[block]
            squares += float(np.dot(total[block], total[block]))
        return squares

    def _update(self, k: int, rate: float, used: list[Activations]) -> None:
        """Clip the gradient over span k, let the optimizer take its step there, and average.

        used: the workspaces of all workers.
        """
        c, span, step = self.config, self._spans[k], self.steps_done + 1
        weights, gradient = self.model.parameters.vector, self._gradients[0].vector
        part = gradient[span]
        if c.clip and self.gradient_norm > c.clip:
            part *= c.clip / self.gradient_norm
        if c.clip_value:
            np.clip(part, -c.clip_value, c.clip_value, out=part)
        self.optimizer.update(weights, gradient, span, rate, step)
        if self.averaged is not None:
            average_weights(self.averaged.parameters.vector, weights, span, c.average, step)
        if self._table_optimizer is not None:
            table = self.model.parameters[NGRAM_TABLE]
            self._table_optimizer.update(
                table,
                share(len(table), self.workers.count, k),
                np.concatenate([activations.ngram_rows for activations in used]),
                np.concatenate([activations.log_probs for activations in used]),
                c.ngram_lr * 0.5**self.halvings,
            )

    def to_dict(self) -> dict[str, Any]:
        """The state beside the arrays, for JSON: with arrays(), all that it takes to go on."""
        return {
            "steps_done": self.steps_done,
            "halvings": self.halvings,
            "total_steps": self.total_steps,
            "batches": self.batches.to_dict(),
            "dropout": generator_to_dict(self._dropout_rng),
            "schedule": self.schedule.to_dict(),
            "pass_nats": self._pass_nats,
            "pass_count": self._pass_count,
        }

    def arrays(self) -> dict[str, Array]:
        """The arrays beside the weights that training changes, by the name they are saved under."""
        arrays = {f"moments.{name}": array for name, array in self.optimizer.moments.items()}
        if self._table_optimizer is not None:
            arrays["moments.ngrams"] = self._table_optimizer.moments["ngrams"]
        arrays["state"] = self.state
        if self.averaged is not None:
            arrays["average"] = self.averaged.parameters.vector
        return arrays

    def is_finite(self) -> bool:
        """Whether all that a step has changed are finite numbers."""
        return all(map(all_finite, (*self.model.parameters.values(), *self.arrays().values())))

    def load_arrays(self, arrays: dict[str, Array]) -> None:
        """Take over the arrays that arrays() gave, of a trainer of the same model and config."""
        for name, array in self.arrays().items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise CharlstmError(f"the saved {name} does not fit this run")
            array[...] = arrays[name]

    def load_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what to_dict gave, of a trainer of the same model, text and config."""
        self.steps_done = integer(saved, "steps_done")
        self.halvings = integer(saved, "halvings", most=1_000)
        ends = saved["total_steps"] is not None
        self.total_steps = integer(saved, "total_steps") if ends else None
        self.batches.load_dict(saved["batches"])
        load_generator(self._dropout_rng, saved["dropout"])
        self.schedule.load_dict(saved["schedule"])
        self._pass_nats = real(saved, "pass_nats")
        self._pass_count = integer(saved, "pass_count")

    def close(self) -> None:
        """End the worker threads."""
        self.workers.close()


def require_memory_to_train(
    symbols: int, V: int, shapes: Shapes, model: ModelConfig, config: TrainConfig
) -> None:
    """Refuse a training that cannot fit: what is counted is the least that it takes.

    symbols: of the training text. V: distinct ones. shapes: of the model's parameters.
    """
    batch_size, seq_length = fit_batch(symbols, config.batch_size, config.seq_length)
    if model.lines:  # which may all be short
        batch_size, seq_length = (
            min(config.batch_size, symbols),
            min(config.seq_length, STEPS_MULTIPLE),
        )
    workers = min(cores_for(config), batch_size)
    copies = 1 + workers + len(MOMENTS[config.optimizer]) + bool(config.average)
    require_memory(
        bytes_of_weights(shapes, model, copies)
        + batch_size * seq_length * activation_bytes(model, V),
        f"training {model.layers} x {model.hidden} units on {V:,} distinct symbols",
        "take smaller --hidden, --layers, --ngram-slots, --batch-size or --seq-length, or "
        "--level byte",
    )
