"""A training step of any model, layer by layer: each worker has its own streams and gradients."""

import math

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig
from charlstm.network.activations import Activations, first_steps
from charlstm.network.dropout import Dropout, Masks
from charlstm.network.layers.head import cross_entropy
from charlstm.system.threads import Tasks, Workers, one_blas_thread, share
from charlstm.training.optimizers import blocks
from charlstm.training.step import Exchange, Gradients, Step, StepSettings, Trained, update_all


class LayerwiseStep(Step):
    """Makes training steps of any model with any optimizer.

    Each worker has its own streams, activations and gradients of all weights. Each worker also has
    its own span of the weights: it sums all workers' gradients of the span, and updates the span.
    The number of workers sets the order of these sums, and so the rounding errors.

    The arguments are those of Engine.make_step.
    """

    def __init__(
        self,
        trained: Trained,
        config: TrainConfig,
        dropout: Dropout,
        workers: Workers,
        exchange: Exchange | None = None,
    ) -> None:
        super().__init__(trained)
        self._config, self._workers, self._exchange = config, workers, exchange
        self._dropout = dropout
        parameters = trained.model.parameters
        numbers = range(workers.count)
        self._streams = [share(trained.batch_size, workers.count, k) for k in numbers]
        self._spans = [share(len(parameters.vector), workers.count, k) for k in numbers]
        self._gradients = [parameters.zeros_like_dense() for _ in numbers]
        self._activations: list[Activations | None] = [None for _ in numbers]

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take."""
        tasks, state = Tasks(), self._trained.state

        def forward_backward(k: int) -> tuple[float, Activations, Array]:
            own = self._streams[k]
            arrays = inputs[:, own], targets[:, own], scales[:, own].reshape(-1)
            return self._forward_backward(
                k, *arrays, masks.of_streams(own), state[:, :, own], tasks
            )

        with one_blas_thread():  # BLAS needs no threads, as the workers already use all cores
            results = self._workers.run(forward_backward)
            squared_norm = sum(self._workers.run(self._sum_gradients))
            gradients = self._gradients_of(results)
            if self._exchange is not None:
                gradients = self._exchange(gradients)
                squared_norm = float(np.dot(gradients.weights, gradients.weights))
            norm = math.sqrt(squared_norm)
            self.is_updating = True
            update_all(self._trained, gradients, norm, self._config, settings, self._workers)
            for streams, (_, _, after) in zip(self._streams, results, strict=True):
                state[:, :, streams] = after
            self.is_updating = False
        return float(gradients.nats), norm

    def _forward_backward(
        self,
        k: int,
        inputs: Ids,
        targets: Ids,
        scales: Array,
        masks: Masks,
        state: Array,
        tasks: Tasks,
    ) -> tuple[float, Activations, Array]:
        """Compute the gradients of worker k's streams.

        state: that of the streams before the window.
        scales (T * B): the factor of each loss. tasks: the queue of matrix products for the weight
        gradients of all workers. A worker that has done its own products takes over those of
        others.

        Returns the sum of the losses, the activations, and the state after the window.
        """
        model = self._trained.model
        activations = self._activations_for(k, *inputs.shape)
        after = model.forward(inputs, state, activations, masks)
        losses = cross_entropy(activations.log_probs, targets.reshape(-1))
        nats = losses.sum(where=scales != 0, dtype=np.float64)
        model.backward_activations(targets, activations, scales, masks)
        tasks.work(model.weight_gradients(activations, self._gradients[k], masks))
        return float(nats), activations, after

    def _activations_for(self, k: int, T: int, B: int) -> Activations:
        """Return worker k's activations for T steps, in the memory of its longest window so far."""
        longest = self._activations[k]
        if longest is None or longest.steps < T:
            longest = self._activations[k] = None  # frees the old arrays before allocating new ones
            longest = self._activations[k] = self._trained.model.new_activations(
                T, B, self._dropout.drops_outputs, self._config.precision
            )
        return longest if longest.steps == T else first_steps(longest, T)

    def _sum_gradients(self, k: int) -> float:
        """Add all workers' gradients within span k to worker 0's; return their squared norm."""
        total, *others = (gradients.vector for gradients in self._gradients)
        squares = 0.0
        for block in blocks(self._spans[k]):
            for other in others:
                total[block] += other[block]
            squares += float(np.dot(total[block], total[block]))
        return squares

    def _gradients_of(self, results: list[tuple[float, Activations, Array]]) -> Gradients:
        """Return the gradients of all workers. results: those of _forward_backward."""
        activations = [each for _, each, _ in results]
        nats = np.array(sum(nats for nats, _, _ in results))
        gradients = Gradients(self._gradients[0].vector, nats)
        if self._trained.table_optimizer is not None:
            gradients = gradients._replace(
                rows=np.concatenate([each.ngram_rows for each in activations]),
                dlogits=np.concatenate([each.log_probs for each in activations]),
            )
        return gradients
