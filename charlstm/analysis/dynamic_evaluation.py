"""Dynamic evaluation: the loss of a text under weights that follow it (Krause et al. 2018).

The text is read in segments. The loss of a segment counts as the weights stand; then they take a
step along its gradient, which does not reach back beyond the segment. With g the gradient, R its
usual size, a root mean square for each weight, and w0 the trained weights:

    w += min(decay * R / mean(R), 1) * (w0 - w) - rate * g / (R + epsilon * mean(R))

That is the paper's rule but for three things. epsilon is a part of mean(R), so that it means the
same for every model. R is measured on text of the model's own: on the training text, a model that
has learned much of it by heart finds gradients too small to go by. And g is clipped to a norm of
MOST_NORM times that of R, for a segment that surprises the model throws it so far that the next
ones do so too.

A table of n-grams, of whose rows a segment meets few, goes on as in training: by AdaGrad, as if
each row had had NGRAM_SQUARES of squared gradients so far, and with no way back.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from charlstm.arrays import Array, Ids, require_shape
from charlstm.config import Record, knob
from charlstm.errors import CharlstmError
from charlstm.network.activations import Activations
from charlstm.network.layers.head import cross_entropy
from charlstm.network.model import CharModel
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.network.sampling import Sampling, generate
from charlstm.network.scoring import Advance, Loss, Score, groups_of_texts, sequences_of
from charlstm.seeds import generator
from charlstm.system.threads import Workers, one_blas_thread, share
from charlstm.text.batches import line_spans
from charlstm.text.vocab import line_end, start_ids
from charlstm.training.optimizers import RowAdaGrad, blocks

# What of a text is enough to measure gradients on: so many places, evenly spread, and so many
# segments in a row at each.
PLACES, SEGMENTS_EACH = 8, 32

MOST_NORM = 2.0
MOST_SURPRISE = 100  # times the nats of a model that knows nothing, in a segment: it has run away
NGRAM_SQUARES = 4.0  # a prediction adds 2 at most, where it was sure of another symbol


@dataclass(frozen=True)
class DynamicConfig(Record):
    """How the weights follow a text in dynamic evaluation: the module's docstring has the rule.

    One default serves all models: scripts/benchmarks/dynamic_evaluation.py names the text on which
    it was chosen.
    """

    segment: int = knob(20, "Predictions between two steps of the weights.", within="[1, inf)")
    rate: float = knob(
        1.5e-3, "Step of a weight whose gradient has its usual size.", within="[0, 1]"
    )
    decay: float = knob(
        1e-3,
        "Part of its way back to the trained weights that each step goes.",
        within="[0, 1]",
    )
    epsilon: float = knob(
        0.1,
        "Bound that keeps weights whose usual gradient is tiny from leaping.",
        within="(0, inf)",
    )
    ngram_lr: float = knob(
        0.25,
        "Learning rate of the table of n-grams, in nats; 0 leaves it as it is.",
        within="[0, 100]",
    )


class DynamicEvaluation:
    """Measures texts under weights that follow each of them, from the trained ones on.

    rms (P,): the root mean square of each weight's gradient, in the order of the flat vector, as
        gradient_rms measures it on segments of the same length.

    The weights that move are those of copies: the model stays as it is, and threads may share it
    and this. Where the weights move so fast that the loss runs away, it raises CharlstmError.
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
        self.most_norm = MOST_NORM * float(np.linalg.norm(rms))

    def evaluate(
        self, ids: Ids, *, workers: Workers | None = None, advance: Advance | None = None
    ) -> Loss:
        """The loss of every id of a text but the first, read in one stream.

        To a model of lines, the state starts afresh with each line; the weights go on.

        advance: called with the number of predictions just made.
        """
        follower = _Follower(self, workers or Workers(1))
        total, count = 0.0, 0
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore"):
            for nats in follower.read(segments(self.model, ids, self.config.segment)):
                total += float(nats.sum(dtype=np.float64))
                count += len(nats)
                if advance is not None:
                    advance(len(nats))
        if not count:
            raise CharlstmError("a text of fewer than 2 characters has nothing to predict")
        return Loss(total, count)

    def score_texts(
        self, texts: Iterable[str], unknown: str = "error", *, workers: Workers | None = None
    ) -> Iterator[Score]:
        """Score each text by itself, as if it followed a line end, in the order given.

        Each starts from the trained weights, so that none learns from another.
        """
        workers = workers or Workers(1)
        followers = [_Follower(self, Workers(1)) for _ in range(workers.count)]
        for group in groups_of_texts(texts):
            parts = [sequences_of(self.model, text, unknown) for text in group]

            def work(k: int, parts: list[list[Ids]] = parts) -> list[Array]:
                return [followers[k].nats(one) for one in parts[k :: workers.count]]

            with one_blas_thread():
                nats = workers.run(work)
            for k, text in enumerate(group):
                yield Score(text, nats[k % workers.count][k // workers.count])


def gradient_rms(
    model: CharModel,
    ids: Ids,
    segment: int = DynamicConfig.segment,
    *,
    workers: Workers | None = None,
    advance: Advance | None = None,
) -> Array:
    """The root mean square (P,) of the gradients of segments from all over a text.

    advance: called by each worker with the number of predictions just made, of `sample_size`.
    """
    workers = workers or Workers(1)
    span = SEGMENTS_EACH * segment
    places = np.unique(np.linspace(0, max(0, len(ids) - 1 - span), PLACES, dtype=np.intp))

    def work(k: int) -> tuple[Array, int]:
        reader, count = _Reader(model), 0
        squares = np.zeros_like(model.parameters.vector)
        for place in places[k :: workers.count]:
            for piece, begins in segments(model, ids[place : place + span + 1], segment):
                reader.read(piece, begins)
                reader.find_gradient()
                for block in blocks(slice(0, len(squares))):
                    squares[block] += reader.gradient[block] ** 2
                count += 1
                if advance is not None:
                    advance(len(piece) - 1)
        return squares, count

    with one_blas_thread():
        parts = workers.run(work)
    count = sum(count for _, count in parts)
    if not count:
        raise CharlstmError("a text of fewer than 2 characters has no gradient")
    squares: Array = np.sum([squares for squares, _ in parts], axis=0)
    return np.sqrt(squares / count)


def sample_size(segment: int = DynamicConfig.segment) -> int:
    """How many predictions gradient_rms reads, at most."""
    return PLACES * SEGMENTS_EACH * segment


def own_text(model: CharModel, segment: int = DynamicConfig.segment) -> Ids:
    """A text of the model's own, always the same, for gradient_rms."""
    steps = generate(model, start_ids(model.vocab), PLACES, Sampling(), generator(0, "sample"))
    texts = np.stack(list(islice(steps, SEGMENTS_EACH * segment)), axis=1)
    return texts.reshape(-1)


def segments(model: CharModel, ids: Ids, length: int) -> Iterator[tuple[Ids, bool]]:
    """A text in segments of up to `length` predictions, and whether each has a fresh state.

    A segment (n + 1,) starts with the id from which its first prediction is made. To a model of
    lines, each line is a text of its own after a line end.
    """
    texts: Iterable[Ids] = (ids,)
    if model.config.lines:
        end = line_end(model.vocab)
        lines = zip(*line_spans(ids, end, len(ids)), strict=True)
        texts = (np.append(end, ids[start:stop]) for start, stop in lines)
    for text in texts:
        yield from _cut(text, length)


def _cut(text: Ids, length: int) -> Iterator[tuple[Ids, bool]]:
    for start in range(0, len(text) - 1, length):
        yield text[start : start + length + 1].astype(np.intp), start == 0


class _Reader:
    """Reads a stream of segments with a model, and finds the gradient of the last one."""

    def __init__(self, model: CharModel) -> None:
        self.model = model
        self._state = model.initial_state(1)
        self._activations: dict[int, Activations] = {}  # by predictions
        self._gradients = model.parameters.zeros_like_dense()
        self.gradient = self._gradients.vector  # (P,)
        self._targets: Ids = np.empty((0, 1), np.intp)

    def read(self, segment: Ids, begins: bool) -> Array:
        """The nats (n,) of a segment (n + 1,), which follows the one before or begins a text."""
        if begins:
            self._state[...] = 0
        inputs, self._targets = segment[:-1, None], segment[1:, None]
        activations = self._activations_for()
        self._state = self.model.forward(inputs, self._state, activations)
        return cross_entropy(activations.log_probs, segment[1:])

    def find_gradient(self) -> None:
        """Leave in `gradient` that of the mean loss of the segment just read; once for each."""
        scale = 1 / len(self._targets)
        self.model.backward(self._targets, self._activations_for(), self._gradients, scale)

    def table_gradient(self) -> tuple[Ids, Array]:
        """After find_gradient, of the sum of the losses: rows (n, contexts), for each (n, V)."""
        activations = self._activations_for()
        return activations.ngram_rows, activations.log_probs * len(self._targets)

    def _activations_for(self) -> Activations:
        n = len(self._targets)
        if n not in self._activations:
            self._activations[n] = self.model.new_activations(n, 1)
        return self._activations[n]


class _Follower:
    """Reads texts with a copy of a model, whose weights follow each one in turn."""

    def __init__(self, dynamic: DynamicEvaluation, workers: Workers) -> None:
        self._dynamic, self._workers = dynamic, workers
        copy = CharModel(dynamic.model.config, dynamic.model.vocab, seed=None)
        copy.parameters.copy_from(dynamic.model.parameters)
        self._reader = _Reader(copy)
        self._weights = copy.parameters.vector
        self._trained = dynamic.model.parameters.vector
        self._spans = [share(len(self._weights), workers.count, k) for k in range(workers.count)]
        self._table = self._table_optimizer = None
        if NGRAM_TABLE in copy.parameters:
            self._table = copy.parameters[NGRAM_TABLE]
            self._table_optimizer = RowAdaGrad(self._table, NGRAM_SQUARES)

    def nats(self, parts: Sequence[Ids]) -> Array:
        """The nats (N,) of every id but the first of each of a text's parts: see sequences_of."""
        length = self._dynamic.config.segment
        nats = list(self.read(segment for part in parts for segment in _cut(part, length)))
        return np.concatenate(nats) if nats else np.empty(0)

    def read(self, segments: Iterable[tuple[Ids, bool]]) -> Iterator[Array]:
        """The nats (n,) of each segment of a text, which starts from the trained weights."""
        self._go_back()
        most_norm = self._dynamic.most_norm
        most_nats = MOST_SURPRISE * math.log(len(self._dynamic.model.vocab))
        for number, (segment, begins) in enumerate(segments):
            if number:  # here and not after the loss, as nothing follows the last segment
                self._reader.find_gradient()
                kept = most_norm / max(float(np.linalg.norm(self._reader.gradient)), most_norm)
                self._workers.run(partial(self._step, kept))
            nats = self._reader.read(segment, begins)
            if not nats.mean() <= most_nats:  # nor is NaN
                raise CharlstmError(
                    "the loss grows beyond all bounds, as the weights follow the text too fast: "
                    f"try a rate below {self._dynamic.config.rate:g}"
                )
            yield nats

    def _go_back(self) -> None:
        """Take the trained weights: of the table, in the rows that have moved since."""
        np.copyto(self._weights, self._trained)
        if self._table is not None and self._table_optimizer is not None:
            squares = self._table_optimizer.squares
            moved = np.flatnonzero(squares != NGRAM_SQUARES)
            self._table[moved] = self._dynamic.model.parameters[NGRAM_TABLE][moved]
            squares[moved] = NGRAM_SQUARES

    def _step(self, kept: float, k: int) -> None:
        """Move the weights of worker k's span by the gradient, of which clipping has kept a part.

        Uses up the gradient there.
        """
        rates, decays = self._dynamic.rates, self._dynamic.decays
        for block in blocks(self._spans[k]):
            w, g = self._weights[block], self._reader.gradient[block]
            g *= kept
            g *= rates[block]
            way_back = self._trained[block] - w
            way_back *= decays[block]
            way_back -= g
            w += way_back
        if self._table is not None and self._table_optimizer is not None:
            rows, dlogits = self._reader.table_gradient()
            span = share(len(self._table), self._workers.count, k)
            rate = self._dynamic.config.ngram_lr
            self._table_optimizer.update(self._table, span, rows, dlogits, rate)
