"""Dropout: the random masks of a training step, the same at all time steps of its window."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from charlstm.arrays import Array
from charlstm.config import ModelConfig, TrainConfig

# The probability of dropping a weight is rounded to a multiple of 1 / BYTE_VALUES, because one
# random byte decides whether the weight is dropped.
BYTE_VALUES = 256


@dataclass
class DroppedWeights:
    """A weight matrix in which random weights are set to 0 (DropConnect, Wan et al. 2013).

    factors: for each weight, 0 with probability p, else 1 / (1 - p); p is the --weight-dropout of
        the run. The gradient of the matrix is also multiplied by the factors.
    weights: the matrix times the factors, element by element.
    """

    factors: Array
    weights: Array


@dataclass(frozen=True)
class Masks:
    """The factors by which dropout multiplies outputs and weights in one window of B streams.

    between (L - 1, B, H): for each layer but the last, the factors by which its output is
        multiplied before the next layer reads it.
    head_input (layers_seen, B, H): for each layer that the head reads, the factors by which its
        output is multiplied before the head reads it.
    recurrent: the matrix Wh of each layer with some weights dropped, the same for all streams
        (Merity et al. 2018); empty if no weights are dropped.

    The factors of an output are the same at every time step (Gal and Ghahramani 2016). `between`
    and `head_input` are None if no outputs are dropped.
    """

    between: Array | None = None
    head_input: Array | None = None
    recurrent: tuple[DroppedWeights, ...] = ()

    def of_streams(self, streams: slice) -> "Masks":
        """Return the masks of the streams in a slice of the batch."""
        if self.between is None or self.head_input is None:
            return self
        between, head_input = self.between[:, streams], self.head_input[:, streams]
        return replace(self, between=between, head_input=head_input)


NO_MASKS = Masks()


class Dropout:
    """Draws the masks of training steps.

    recurrent: the matrix Wh of each layer. Each draw uses the current values of the matrices.
    rng: the random generator of all draws. A checkpoint saves the state of the generator, but not
        the masks.
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
        probabilities = self._between * [between] + model.layers_seen * [config.dropout]
        self._shape = (len(probabilities), batch_size, model.hidden)
        self._dropped = np.array(probabilities, np.float32)[:, None, None]
        self._kept = np.array([1 - p for p in probabilities], model.dtype)[:, None, None]
        # A random byte below this number drops its weight. The largest byte always keeps its
        # weight: otherwise the factor of the kept weights would be infinite.
        self._dropped_values = min(round(BYTE_VALUES * config.weight_dropout), BYTE_VALUES - 1)
        self._sources = recurrent if self._dropped_values else ()
        self._recurrent = tuple(
            DroppedWeights(np.empty_like(Wh), np.empty_like(Wh)) for Wh in self._sources
        )
        self._rng = rng

    @property
    def drops_outputs(self) -> bool:
        """Whether outputs are dropped before the next layer or the head reads them."""
        return bool(self._dropped.any())

    def draw(self) -> Masks:
        """Draw the masks of the next training step, which overwrite those of the step before."""
        between = head_input = None
        if self.drops_outputs:
            kept = self._rng.random(self._shape, np.float32) >= self._dropped
            factors = kept.astype(self._kept.dtype)
            factors /= self._kept
            between, head_input = factors[: self._between], factors[self._between :]
        for Wh, dropped in zip(self._sources, self._recurrent, strict=True):
            self._drop(Wh, dropped)
        return Masks(between, head_input, self._recurrent)

    def _drop(self, weights: Array, dropped: DroppedWeights) -> None:
        """Draw the weights to drop; fill `dropped` with the factors and the remaining weights."""
        # A random byte decides on each weight: random floats would take five times as long to draw.
        words = self._rng.bit_generator.random_raw(-(-weights.size // 8))
        numbers = words.view(np.uint8)[: weights.size].reshape(weights.shape)
        kept = np.greater_equal(numbers, self._dropped_values, out=numbers.view(np.bool_))
        scale = weights.dtype.type(BYTE_VALUES / (BYTE_VALUES - self._dropped_values))
        np.multiply(kept, scale, out=dropped.factors)
        # An overflow needs no warning: it makes the loss infinite or NaN, which training detects.
        with np.errstate(over="ignore", invalid="ignore"):
            np.multiply(weights, dropped.factors, out=dropped.weights)
