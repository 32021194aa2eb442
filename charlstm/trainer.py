"""One step of training by truncated back-propagation through time, over all workers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .arrays import Array, Ids, all_finite
from .batches import PADDING, Batches, Lanes, Lines
from .bounds import number, whole
from .config import ModelConfig, TrainConfig
from .dropout import Dropout, Masks
from .errors import CharlstmError
from .layers import layer_of
from .layers.head import cross_entropy
from .layers.ngrams import layers_of_recent
from .model import CharModel
from .optimizers import MOMENTS, RowAdaGrad, average_weights, blocks, make_optimizer
from .parallel import Tasks, Workers, available_cores, one_blas_thread, share
from .parameters import TABLE, Shapes, dense_size
from .precision import resolve_precision
from .randomness import generator, generator_state, restore_generator
from .sampler import line_end
from .schedules import Schedule
from .workspace import Workspace, first_steps


def saved_shapes(
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
    if TABLE in parameters:
        shapes["moments.ngrams"] = parameters[TABLE][:1]
    layers = model.layers + layers_of_recent(model.ngrams, parts, model.hidden)
    shapes["state"] = (layers, parts, config.lanes, model.hidden)
    if config.average:
        shapes["average"] = (total,)
    return shapes


class Trainer:
    """Trains a model on a 1-D array of ids, in memory or memory-mapped.

    Each worker thread has some of the lanes; their gradients meet once a step. The number of
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
        self.model = model
        precision = resolve_precision(config.precision, model.config)
        if np.ndim(ids) != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise CharlstmError("ids must be a 1-D array of whole numbers")
        rng = generator(config.seed, "lanes")
        self.lanes: Batches
        if model.config.lines:
            end = line_end(model.vocab)
            self.lanes = Lines(ids, end, config.lanes, config.window, rng)
        else:
            self.lanes = Lanes(ids, config.lanes, config.window, rng, config.recut)
        workers = min(config.workers or available_cores(), self.lanes.count)
        self.config = replace(
            config,
            lanes=self.lanes.count,
            window=self.lanes.window,
            workers=workers,
            precision=precision,
        )
        self.workers = Workers(workers)
        self.optimizer = make_optimizer(config, model.parameters.vector)
        table = model.parameters.get(TABLE)
        self._table_optimizer = None if table is None else RowAdaGrad(table)
        self.averaged: CharModel | None = None
        if config.average:
            self.averaged = CharModel(model.config, model.vocab)
            self.averaged.parameters.vector[:] = model.parameters.vector
            self.averaged.parameters.share_table(model.parameters)
        self.schedule = Schedule(config)
        self.total_steps = config.steps
        if config.epochs is not None:
            self.total_steps = max(1, round(config.epochs * self.lanes.windows_per_pass))
        self._pass_nats, self._pass_count = 0.0, 0  # of the pass so far
        self.steps_done = 0
        self.halvings = 0
        self.gradient_norm = math.nan  # of the last step, before clipping
        self.state = model.initial_state(self.lanes.count)
        self._dropout_rng = generator(config.seed, "dropout")
        recurrent = [model.parameters[f"layers.{k}.Wh"] for k in range(model.config.layers)]
        self._dropout = Dropout(
            model.config, config, self.lanes.count, recurrent, self._dropout_rng
        )
        # what each worker owns
        self._shares = [share(self.lanes.count, workers, k) for k in range(workers)]
        self._spans = [share(len(model.parameters.vector), workers, k) for k in range(workers)]
        self._workspaces: list[Workspace | None] = [None] * workers
        self._gradients = [model.parameters.like_vector() for _ in range(workers)]

    @property
    def epoch(self) -> int:
        """Finished passes over the text."""
        return self.lanes.passes

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        rate = self.schedule.rate(self.steps_done, self.epoch, self.total_steps)
        return rate * 0.5**self.halvings

    @property
    def characters_per_step(self) -> float:
        """Symbols that a step learns from, on the average."""
        return self.lanes.symbols_per_window

    def step(self) -> float:
        """Train on the next window of all lanes; return its mean loss in nats a symbol."""
        rate = self.learning_rate
        if self.lanes.starts_afresh:
            self.state[...] = 0
        elif self.config.reset:
            # so that the model also learns to begin, which it has to when it is sampled from
            begins = self._dropout_rng.random(self.lanes.count) < self.config.reset
            self.state[:, :, begins] = 0
        passes = self.lanes.passes
        window = self.lanes.next_window()
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
            used = [workspace for _, workspace in parts]
            squares = self.workers.run(self._sum_gradients)
            self.gradient_norm = math.sqrt(sum(squares))
            self.workers.run(lambda k: self._update(k, rate, used))
        self.steps_done += 1
        self._pass_nats += sum(losses)
        self._pass_count += count
        if self.lanes.passes > passes:
            self.schedule.end_pass(self._pass_nats / self._pass_count)
            self._pass_nats, self._pass_count = 0.0, 0
        return sum(losses) / count

    def _forward_backward(
        self, k: int, window: Ids, scales: Array, masks: Masks, tasks: Tasks
    ) -> tuple[float, Workspace]:
        """The summed loss of worker k's lanes, and its workspace; leaves its part of the gradient.

        scales (T, B): the factor of each target's loss in the whole, 0 for padding. tasks: what is
        left to do when the lanes have been followed back, of all workers.
        """
        lanes = self._shares[k]
        own_scales = scales[:, lanes].reshape(-1)
        # what follows padding does not count, so that any symbol will do in its place
        inputs, targets = window[:-1, lanes].clip(0), window[1:, lanes].clip(0)
        own_masks = masks.of_lanes(lanes)
        workspace = self._workspace(k, *inputs.shape)
        self.state[:, :, lanes] = self.model.forward(
            inputs, self.state[:, :, lanes], workspace, own_masks
        )
        losses = cross_entropy(workspace.log_probs, targets.reshape(-1))
        loss = losses.sum(where=own_scales != 0, dtype=np.float64)
        self.model.backward_activations(targets, workspace, own_scales, own_masks)
        tasks.work(self.model.weight_gradients(workspace, self._gradients[k], own_masks))
        return float(loss), workspace

    def _workspace(self, k: int, T: int, B: int) -> Workspace:
        """Worker k's own for windows of T steps: a part of one for the most steps so far."""
        longest = self._workspaces[k]
        if longest is None or len(longest.dout) < T:
            longest = self._workspaces[k] = None  # which lets go of it before there is another
            longest = self._workspaces[k] = self.model.workspace(
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

    def _update(self, k: int, rate: float, used: list[Workspace]) -> None:
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
            table = self.model.parameters[TABLE]
            self._table_optimizer.update(
                table,
                share(len(table), self.workers.count, k),
                np.concatenate([workspace.ngram_rows for workspace in used]),
                np.concatenate([workspace.log_probs for workspace in used]),
                c.ngram_lr * 0.5**self.halvings,
            )

    def saved(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """All that it takes to go on bit for bit: arrays by name, and a JSON object."""
        return self._arrays(), {
            "steps_done": self.steps_done,
            "halvings": self.halvings,
            "total_steps": self.total_steps,
            "lanes": self.lanes.state(),
            "dropout": generator_state(self._dropout_rng),
            "schedule": self.schedule.state(),
            "pass_nats": self._pass_nats,
            "pass_count": self._pass_count,
        }

    def _arrays(self) -> dict[str, Array]:
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
        return all(map(all_finite, (*self.model.parameters.values(), *self._arrays().values())))

    def restore(self, arrays: dict[str, Array], progress: dict[str, Any]) -> None:
        """Go on from what `saved` gave, in a trainer of the same model, text and config."""
        for name, array in self._arrays().items():
            if name not in arrays or arrays[name].shape != array.shape:
                raise CharlstmError(f"the saved {name} does not fit this run")
            array[...] = arrays[name]
        self.steps_done = whole(progress, "steps_done")
        # which old files do not tell
        self.halvings = whole({"halvings": 0, **progress}, "halvings", most=1_000)
        ends = progress["total_steps"] is not None
        self.total_steps = whole(progress, "total_steps") if ends else None
        self.lanes.restore(progress["lanes"])
        restore_generator(self._dropout_rng, progress["dropout"])
        self.schedule.restore(progress["schedule"])
        self._pass_nats = number(progress, "pass_nats")
        self._pass_count = whole(progress, "pass_count")

    def close(self) -> None:
        """End the worker threads."""
        self.workers.close()
