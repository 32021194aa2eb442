"""Dropout: what a step of training leaves out of a network, the same at all steps of its window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from charlstm.arrays import Array
from charlstm.config import ModelConfig, TrainConfig

DROPOUT_LEVELS = (
    256  # of a random byte: the probability to drop a weight is rounded to one of these
)


@dataclass
class DroppedWeights:
    """A weight matrix with some of its weights left out (DropConnect, Wan et al. 2013).

    factors: 0, or 1 / (1 - p), for each weight: what its gradient is to be multiplied by.
    weights: the matrix times these.
    """

    factors: Array
    weights: Array


@dataclass(frozen=True)
class Masks:
    """What is left out over one window.

    between (L - 1, B, H): factors on what each of L layers gives to the next, for B streams.
    seen (layers_seen, B, H): factors on what the head sees of each layer that it sees. Both are
        the same at every step (Gal and Ghahramani 2016); None, of both: all stays as it is.
    recurrent: Wh of each layer, the same for all streams (Merity et al. 2018); none: all of it.
    """

    between: Array | None = None
    seen: Array | None = None
    recurrent: tuple[DroppedWeights, ...] = ()

    def of_streams(self, streams: slice) -> "Masks":
        """The masks of some of the streams."""
        if self.between is None or self.seen is None:
            return self
        return replace(self, between=self.between[:, streams], seen=self.seen[:, streams])


class Dropout:
    """Draws the masks of training steps.

    recurrent: Wh of each layer, which may change between steps.
    rng: what is drawn from; its state is all that has to be saved to go on bit for bit.
    """

    def __init__(
        self,
        model: ModelConfig,
        config: TrainConfig,
        batch_size: int,
        recurrent: Sequence[Array],
        rng: np.random.Generator,
    ) -> None:
        between = config.dropout if config.dropout_between is None else config.dropout_between
        self._between = model.layers - 1
        parts = self._between * [between] + model.layers_seen * [config.dropout]
        self._shape = (len(parts), batch_size, model.hidden)
        self._dropped = np.array(parts, np.float32)[:, None, None]
        self._kept = np.array([1 - p for p in parts], model.dtype)[:, None, None]
        # at least one level is kept, so that the factor of what is kept stays finite
        self._dropped_levels = min(
            round(DROPOUT_LEVELS * config.weight_dropout), DROPOUT_LEVELS - 1
        )
        self._sources = recurrent if self._dropped_levels else ()
        self._recurrent = tuple(
            DroppedWeights(np.empty_like(Wh), np.empty_like(Wh)) for Wh in self._sources
        )
        self._rng = rng

    @property
    def drops_outputs(self) -> bool:
        """Whether the masks have factors on what layers give to each other and to the head."""
        return bool(self._dropped.any())

    def draw(self) -> Masks:
        """The masks of the next step; those of the step before are overwritten."""
        between = seen = None
        if self.drops_outputs:
            kept = self._rng.random(self._shape, np.float32) >= self._dropped
            factors = kept.astype(self._kept.dtype)
            factors /= self._kept
            between, seen = factors[: self._between], factors[self._between :]
        for Wh, dropped in zip(self._sources, self._recurrent, strict=True):
            self._drop(Wh, dropped)
        return Masks(between, seen, self._recurrent)

    def _drop(self, weights: Array, dropped: DroppedWeights) -> None:
        """Draw what is left of the weights."""
        # a byte for each weight: floats would take five times as long
        words = self._rng.bit_generator.random_raw(-(-weights.size // 8))
        numbers = words.view(np.uint8)[: weights.size].reshape(weights.shape)
        kept = np.greater_equal(numbers, self._dropped_levels, out=numbers.view(np.bool_))
        scale = weights.dtype.type(DROPOUT_LEVELS / (DROPOUT_LEVELS - self._dropped_levels))
        np.multiply(kept, scale, out=dropped.factors)
        with np.errstate(over="ignore", invalid="ignore"):  # which the loss will show
            np.multiply(weights, dropped.factors, out=dropped.weights)
