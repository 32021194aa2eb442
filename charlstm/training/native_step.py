"""A training step of an LSTM in native code: see kernels/native_training.h."""

import math

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.config import TrainConfig
from charlstm.kernels import NativeTrainingStep
from charlstm.network.dropout import Dropout, Masks
from charlstm.network.layers.ngrams import symbol_codes
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.system.threads import Workers
from charlstm.training.optimizers import Adam, average_decay
from charlstm.training.step import Exchange, Gradients, Step, StepSettings, Trained, update_all

# A team of workers divides the units among them; each worker computes all streams of its team. With
# two cores of an Intel Xeon, 2 MB of second-level cache each, and a batch size of 24, two teams of
# one worker were faster by 29 % with 96 units, 15 % with 160 and 5 % with 256. One team of two
# workers was faster by 3 % with 320 units and by 8 % with 512: the part of Wh that a worker
# multiplies then fits into the cache of its core.
#
# Estimates for more cores are from scripts/benchmarks/many_cores.py. With 12 streams, a worker uses
# each weight twice when it has loaded it: with 512 units and 16 cores, two teams with 12 streams
# were faster by 11 % than four with 6. With less than 64 units, a worker waits for its team for too
# large a part of a time step: with 256 units and 16 cores, four teams with 6 streams were faster.
STREAMS_OF_TEAM = (12, 6)  # the wanted least number of streams of a team, and a lower one
MAX_BYTES_OF_WORKER = 1_500_000  # of Wh
WANTED_UNITS_OF_WORKER = 64
MIN_UNITS_OF_WORKER = 16  # a vector of the processor


def team_count(workers: int, batch_size: int, hidden: int) -> int:
    """Return the number of teams that workers form: see native_training.h.

    The number of teams divides the number of workers. It is the largest one for which each team has
    at least STREAMS_OF_TEAM streams, and each worker at most MAX_BYTES_OF_WORKER bytes of Wh and at
    least WANTED_UNITS_OF_WORKER units, if there are that many. If no number of teams keeps these
    limits, the result is the smallest number for which each worker has MIN_UNITS_OF_WORKER units or
    more.
    """
    most_members = -(-hidden // MIN_UNITS_OF_WORKER)
    possible = [
        n for n in range(1, workers + 1) if workers % n == 0 and workers // n <= most_members
    ]
    possible = [n for n in possible if n <= batch_size]
    for streams in STREAMS_OF_TEAM:
        for teams in reversed(possible):
            units = hidden * teams / workers
            is_small = 16 * hidden * units <= MAX_BYTES_OF_WORKER  # Wh (H, 4H) in float32
            is_large = units >= min(WANTED_UNITS_OF_WORKER, hidden)
            if batch_size >= streams * teams and is_small and is_large:
                return teams
    return possible[0]


class NativeStep(Step):
    """Makes training steps of an LSTM in float32 or bfloat16.

    The update is native for Adam in one process. Otherwise the native step only computes gradients.

    The workers share one set of activations. The results do not depend on the number of workers.

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
        self._updates_natively = isinstance(trained.optimizer, Adam) and exchange is None
        self._gradients = trained.model.parameters.zeros_like_dense()
        self._norm, self._nats = np.zeros(1), np.zeros(1)
        self._longest = 0  # the number of time steps that the memory suffices for
        self._native: NativeTrainingStep

    def take(
        self, inputs: Ids, targets: Ids, scales: Array, masks: Masks, settings: StepSettings
    ) -> tuple[float, float]:
        """See Step.take."""
        if len(inputs) > self._longest:
            self._allocate(len(inputs))
        native, state = self._native, self._trained.state
        layers = self._trained.model.config.layers
        window = np.array((inputs, targets), np.int64)
        native.set(
            T=len(inputs),
            inputs=window[0],
            targets=window[1],
            scales=scales,
            state=state[:layers],
            history=state[layers:],
        )
        self._set_masks(masks)
        self._set_update(settings)
        self._workers.run_together(native.begin, native.run, native.stop)
        if self._updates_natively:  # all or nothing: `is_updating` stays false
            return float(self._nats[0]), float(self._norm[0])
        return self._update(inputs.size, settings)

    def measure(self) -> Array:
        """Return an array (workers, PHASES) of seconds, to which each step from now on adds.

        A step of more time steps than all steps before it ends the measurement.
        """
        return self._native.measure()

    def _allocate(self, T: int) -> None:
        """Allocate the memory for windows of T time steps."""
        model, averaged, optimizer, table_optimizer, _ = self._trained
        config, B, V = model.config, self._trained.batch_size, len(model.vocab)
        contexts = max(0, config.ngrams - 1)
        self._longest = T
        self._native = NativeTrainingStep(
            {
                "T": T,
                "B": B,
                "H": config.hidden,
                "V": V,
                "L": config.layers,
                "seen": config.layers_seen,
                "capped": config.capped,
                "dropout": self._dropout.drops_outputs,
                "ngrams": contexts,
                "R": config.ngram_slots if contexts else 0,
            },
            self._workers.count,
            team_count(self._workers.count, B, config.hidden),
            self._config.precision,
        )
        parameters, gradients = model.parameters, self._gradients
        for k in range(config.layers):
            own, d = parameters.part(f"layers.{k}."), gradients.part(f"layers.{k}.")
            by_symbol = "Wi" if k else "Wx"
            self._native.set_layer(
                k,
                by_symbol=own.get(by_symbol),
                dby_symbol=d.get(by_symbol),
                Wx=own["Wx"] if k else None,
                dWx=d["Wx"] if k else None,
                Wh=own["Wh"],
                dWh=d["Wh"],
                b=own["b"],
                db=d["b"],
            )
        self._native.set(
            head_W=parameters["head.W"],
            head_b=parameters["head.b"],
            dhead_W=gradients["head.W"],
            dhead_b=gradients["head.b"],
            nats=self._nats,
            gradient_norm=self._norm,
            weight_count=len(parameters.vector),
            weights=parameters.vector,
            gradient=gradients.vector,
            clip=self._config.clip,
            clip_value=self._config.clip_value,
        )
        if table_optimizer is not None:
            self._native.set(
                codes=symbol_codes(model.vocab.symbols),
                table=parameters[NGRAM_TABLE],
                table_squares=table_optimizer.squares,
            )
        if self._updates_natively:
            self._native.set(updates=1, **optimizer.moments)
            if averaged is not None:
                self._native.set(average=averaged.parameters.vector)

    def _set_masks(self, masks: Masks) -> None:
        """Set the factors of dropout of the next step."""
        config = self._trained.model.config
        for k in range(config.layers):
            if masks.between is not None and masks.head_input is not None:
                # among the layers that the head reads
                place = k - config.layers + config.layers_seen
                self._native.set_layer(
                    k,
                    x_factors=masks.between[k - 1] if k else None,
                    head_factors=masks.head_input[place] if place >= 0 else None,
                )
            if masks.recurrent:
                weights, factors = masks.recurrent[k].weights, masks.recurrent[k].factors
                self._native.set_layer(k, Wh=weights, Wh_factors=factors)

    def _set_update(self, settings: StepSettings) -> None:
        """Set the numbers with which the next step updates the weights and the table."""
        optimizer, table_optimizer = self._trained.optimizer, self._trained.table_optimizer
        if isinstance(optimizer, Adam):
            constants = optimizer.constants(settings.rate, settings.number)
            with np.errstate(over="ignore"):  # training detects weights that are not finite
                numbers = np.array([*constants.values()], np.float32)
            decay = average_decay(self._config.average, settings.number)
            self._native.set(constants=numbers, average_step=1 - decay)
        if table_optimizer is not None:
            numbers = np.array((settings.table_rate, table_optimizer.EPSILON), np.float32)
            self._native.set(table_constants=numbers)

    def _update(self, predictions: int, settings: StepSettings) -> tuple[float, float]:
        """Update the weights by the gradients of all processes; return the nats and the norm."""
        native, norm = self._native, float(self._norm[0])
        gradients = Gradients(self._gradients.vector, self._nats[0:1].reshape(()))
        if self._trained.table_optimizer is not None:
            gradients = gradients._replace(
                rows=native.rows[:predictions], dlogits=native.log_probs[:predictions]
            )
        if self._exchange is not None:
            gradients = self._exchange(gradients)
            norm = math.sqrt(np.dot(gradients.weights, gradients.weights))
        self.is_updating = True
        update_all(self._trained, gradients, norm, self._config, settings, self._workers)
        self.is_updating = False
        return float(gradients.nats), norm
