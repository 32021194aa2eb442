"""Dynamic evaluation: the loss of a text while the weights adapt to it (Krause et al. 2018).

The text is read in short segments. The loss of a segment is measured before the weights adapt to
the segment. After each segment, the weights take a step against the gradient of the loss of the
segment, which is propagated back to the start of the segment only. With g the gradient, R its root
mean square for each weight, and w0 the trained weights, the step is

    w += min(decay * R / mean(R), 1) * (w0 - w) - rate * g / (R + epsilon * mean(R))

The step of charlstm differs from the step of the paper in three points:

1. epsilon is a fraction of mean(R), so that one value of epsilon suits every model.
2. R is measured on text that the model generates. If the model knows much of its training text by
   heart, the gradients on the training text are too small.
3. The norm of g is clipped to MAX_NORM times the norm of R. Without clipping, one surprising
   segment can move the weights so far that the next segments surprise the model as well.

The table of n-grams, of which a segment changes few rows, adapts by AdaGrad as in training. The sum
of squares that AdaGrad keeps for each row starts at NGRAM_SQUARES. The rows of the table are not
pulled back to their trained values.

Passages that occur again are predicted by matches (matches.py): the loss of a segment is that of
the model's predictions after the matches are mixed in. The gradient is that of the model alone.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from charlstm.analysis.matches import Matches
from charlstm.analysis.segment_gradients import DEFAULT_SEGMENT, SegmentReader, cut, segments
from charlstm.arrays import Array, Ids, require_shape
from charlstm.config import Record, knob
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.scoring import (
    Advance,
    Loss,
    Score,
    groups_of_texts,
    nats_by_character,
    sequences_of,
)
from charlstm.system.threads import Workers, check_cancelled, one_blas_thread, share
from charlstm.text.vocab import UnknownTreatment
from charlstm.training.optimizers import RowAdaGrad, blocks

MAX_NORM = 2.0  # maximum norm of a gradient, as a multiple of the norm of R
# The weights have diverged if the loss of a segment is more than this number times the loss of
# uniform predictions.
MAX_SURPRISE = 100
# The initial sum of squares of each row of the n-gram table. A prediction adds at most 2 to the sum
# of a row, and adds 2 only if the model was certain of a wrong symbol.
NGRAM_SQUARES = 4.0


@dataclass(frozen=True)
class DynamicConfig(Record):
    """The settings of dynamic evaluation; the module's docstring has the formula.

    Each setting has the same default for all models, chosen on the text that
    scripts/benchmarks/dynamic_evaluation.py names.
    """

    segment: int = knob(
        DEFAULT_SEGMENT, "Number of predictions per step of the weights.", within="[1, inf)"
    )
    rate: float = knob(
        1.5e-3,
        "Change of a weight in one step if the gradient of the weight has its usual size.",
        within="[0, 1]",
    )
    decay: float = knob(
        1e-3,
        "Fraction of a weight's difference from its trained value that each step removes.",
        within="[0, 1]",
    )
    epsilon: float = knob(
        0.1,
        "Number added to the usual size of each weight's gradient, as a fraction of the mean over "
        "all weights. A larger number makes the steps smaller, most of all for weights whose "
        "gradients are usually tiny.",
        within="(0, inf)",
    )
    ngram_lr: float = knob(
        0.25,
        "Learning rate of the table of n-grams, in nats; 0 leaves it as it is.",
        within="[0, 100]",
    )
    match: int = knob(
        5,
        "Shortest match, in characters: where at least this many last characters occurred earlier "
        "in the text, the character that followed them is expected again. 0: no matches.",
        within="[1, inf)",
        also=(0,),
    )


class DynamicEvaluation:
    """Measures the loss of texts while a copy of the weights adapts to each text.

    rms: (P,) the root mean square of each weight's gradient, as gradient_rms measures it on
        segments of the same length.

    Each call of evaluate, and each text of score_texts, starts with the trained weights. As the
    model itself never changes, several threads may share the model and this object. All methods
    raise CharlstmError if the weights change so fast that the loss diverges.
    """

    def __init__(self, model: CharModel, rms: Array, config: DynamicConfig | None = None) -> None:
        require_shape("rms", rms, model.parameters.vector.shape)
        self.model, self.config = model, config or DynamicConfig()
        c, mean = self.config, float(rms.mean(dtype=np.float64))
        if not 0 < mean < np.inf:
            raise CharlstmError(f"the mean of rms must be above 0 and finite, not {mean}")
        dtype = model.config.dtype
        self.rates: Array = (c.rate / (rms + c.epsilon * mean)).astype(dtype)
        self.decays: Array = np.minimum(c.decay / mean * rms, 1).astype(dtype)
        self.max_norm = MAX_NORM * float(np.linalg.norm(rms))

    def evaluate(
        self,
        ids: Ids,
        *,
        starts: Ids | None = None,
        before: Ids | None = None,
        workers: Workers | None = None,
        advance: Advance | None = None,
    ) -> Loss:
        """Return the loss of a text, read in one stream; its first id is not predicted.

        A model of lines reads each line from a state of zeros, but keeps the adapted weights.

        before: a text, such as the training text, in which matches are found as if it had been read
            before; the model does not read it. It may be memory-mapped.
        starts: the positions at which texts start, if `ids` is several texts joined. The state is
            set to zeros at the start of each text, but the weights keep their changes.
        advance: called with the number of predictions just made.
        """
        adapting_model = _AdaptingModel(self, workers or Workers(1))
        total, count = 0.0, 0
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            cut_text = segments(self.model, ids, self.config.segment, starts)
            for nats in adapting_model.read(cut_text, before):
                total += float(nats.sum(dtype=np.float64))
                count += len(nats)
                if advance is not None:
                    advance(len(nats))
        if not count:
            raise CharlstmError(
                "a text of fewer than 2 characters has nothing to predict: give a longer text"
            )
        return Loss(total, count - len(ids) + self.model.vocab.count_characters(ids))

    def score_texts(
        self,
        texts: Iterable[str],
        unknown: UnknownTreatment = "error",
        *,
        workers: Workers | None = None,
    ) -> Iterator[Score]:
        """Yield the scores of texts in the order given, each as if it followed a line end.

        The trained weights are restored before each text: no text affects the score of another.
        """
        workers = workers or Workers(1)
        adapting_models = [_AdaptingModel(self, Workers(1)) for _ in range(workers.count)]
        for group in groups_of_texts(texts):
            sequences = [sequences_of(self.model, text, unknown) for text in group]

            def work(k: int, sequences: list[list[Ids]] = sequences) -> list[Array]:
                return [adapting_models[k].score(each) for each in sequences[k :: workers.count]]

            with one_blas_thread():
                nats = workers.run(work)
            for k, text in enumerate(group):
                losses = nats[k % workers.count][k // workers.count]
                yield Score(text, nats_by_character(self.model.vocab, sequences[k], losses))


class _AdaptingModel:
    """Reads texts with a copy of a model. The weights of the copy adapt to a text as it is read.

    The weights of the copy are reset to the trained weights before the next text.
    """

    def __init__(self, dynamic: DynamicEvaluation, workers: Workers) -> None:
        self._dynamic, self._workers = dynamic, workers
        copy = CharModel(dynamic.model.config, dynamic.model.vocab, seed=None)
        copy.parameters.copy_from(dynamic.model.parameters)
        self._reader = SegmentReader(copy)
        self._weights = copy.parameters.vector
        self._trained = dynamic.model.parameters.vector
        self._spans = [share(len(self._weights), workers.count, k) for k in range(workers.count)]
        self._table = self._table_optimizer = None
        if NGRAM_TABLE in copy.parameters:
            self._table = copy.parameters[NGRAM_TABLE]
            self._table_optimizer = RowAdaGrad(self._table, NGRAM_SQUARES)

    def score(self, sequences: Sequence[Ids]) -> Array:
        """Return the losses (N,) of a text's sequences, whose first ids are not predicted."""
        length = self._dynamic.config.segment
        nats = list(self.read(one for sequence in sequences for one in cut(sequence, length)))
        return np.concatenate(nats) if nats else np.empty(0)

    def read(
        self, segments: Iterable[tuple[Ids, bool]], before: Ids | None = None
    ) -> Iterator[Array]:
        """Restore the trained weights, then yield the losses (n,) in nats of each segment.

        before: a text in which matches are found too.
        """
        self._restore_weights()
        shortest = self._dynamic.config.match
        matches = Matches(shortest, before) if shortest else None
        max_norm = self._dynamic.max_norm
        max_nats = MAX_SURPRISE * math.log(len(self._dynamic.model.vocab))
        for number, (segment, begins) in enumerate(segments):
            check_cancelled()
            if number:  # The weights take a step before each segment except the first.
                self._reader.find_gradient()
                norm = float(np.linalg.norm(self._reader.gradient))
                self._workers.run(partial(self._move_weights, max_norm / max(norm, max_norm)))
            nats = self._reader.read(segment, begins)
            if not nats.mean() <= max_nats:  # "not <=" is true for NaN as well
                raise CharlstmError(
                    "the loss grows beyond all bounds, as the weights change too fast: "
                    f"try a `dynamic_rate` below {self._dynamic.config.rate:g}"
                )
            if matches is not None:
                if begins:
                    matches.read(int(segment[0]))
                nats = matches.mix(self._reader.log_probs, segment[1:])
            yield nats

    def _restore_weights(self) -> None:
        """Restore the trained weights; in the table of n-grams, only the rows that have changed."""
        np.copyto(self._weights, self._trained)
        if self._table is not None and self._table_optimizer is not None:
            squares = self._table_optimizer.squares
            changed = np.flatnonzero(squares != NGRAM_SQUARES)
            self._table[changed] = self._dynamic.model.parameters[NGRAM_TABLE][changed]
            squares[changed] = NGRAM_SQUARES

    def _move_weights(self, clipping: float, k: int) -> None:
        """Move worker k's share of the weights by one step, and overwrite their gradient.

        clipping: the factor that scales the gradient to the maximum norm; 1 if its norm is smaller.
        """
        rates, decays = self._dynamic.rates, self._dynamic.decays
        for block in blocks(self._spans[k]):
            w, g = self._weights[block], self._reader.gradient[block]
            g *= clipping
            g *= rates[block]
            change = self._trained[block] - w
            change *= decays[block]
            change -= g
            w += change
        if self._table is not None and self._table_optimizer is not None:
            rows, dlogits = self._reader.table_gradient()
            span = share(len(self._table), self._workers.count, k)
            rate = self._dynamic.config.ngram_lr
            self._table_optimizer.update(self._table, span, rows, dlogits, rate)
