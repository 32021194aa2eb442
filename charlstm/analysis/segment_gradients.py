"""Gradients of the short segments that dynamic evaluation reads, and their root mean square."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError
from charlstm.network.activations import Activations
from charlstm.network.layers.head import cross_entropy
from charlstm.network.model import CharModel
from charlstm.network.sampling import Sampling, generate
from charlstm.network.scoring import BLOCK_LENGTH, Advance
from charlstm.seeds import generator
from charlstm.system.threads import Workers, check_cancelled, one_blas_thread
from charlstm.text.batches import line_blocks, line_spans
from charlstm.text.vocab import line_end, start_ids
from charlstm.training.optimizers import blocks

DEFAULT_SEGMENT = 20  # number of predictions in a segment
# gradient_rms reads SEGMENTS_PER_PLACE consecutive segments at each of PLACES places, which are
# evenly spread over a text.
PLACES, SEGMENTS_PER_PLACE = 8, 32


def segments(
    model: CharModel, ids: Ids, length: int, starts: Ids | None = None
) -> Iterator[tuple[Ids, bool]]:
    """Cut a text into segments of at most `length` predictions.

    starts: the positions at which texts start, if `ids` is several texts joined (see evaluate).

    Yields (segment, whether the segment begins a text). A segment (n + 1,) of n predictions starts
    with the id from which its first prediction is made. For a model of lines, each line is a text
    of its own, which starts with a line end.
    """
    if not model.config.lines:
        for text in [ids] if starts is None else np.split(ids, starts[1:]):
            yield from cut(text, length)
        return
    end = line_end(model.vocab)
    for begin, finish in line_blocks(ids, end, BLOCK_LENGTH):
        block = ids[begin:finish]
        # A block longer than BLOCK_LENGTH is a single line, for which line_spans would make a
        # large array.
        is_long = len(block) > BLOCK_LENGTH
        spans = ([0], [len(block)]) if is_long else line_spans(block, end, len(block))
        for start, stop in zip(*spans, strict=True):
            for first in range(start, stop, length):
                before = block[first - 1] if first > start else end
                segment = np.append(before, block[first : min(first + length, stop)])
                yield segment.astype(np.intp), first == start


def cut(text: Ids, length: int) -> Iterator[tuple[Ids, bool]]:
    """Cut one text into segments of at most `length` predictions, as `segments` does."""
    for start in range(0, len(text) - 1, length):
        yield text[start : start + length + 1].astype(np.intp), start == 0


class SegmentReader:
    """Reads segments one after the other, and computes the gradient of the last segment's loss.

    gradient: (P,) for the model's P weights, without those of the table of n-grams.
    """

    def __init__(self, model: CharModel) -> None:
        self.model = model
        self._state = model.initial_state(1)
        self._activations: dict[int, Activations] = {}  # key: predictions in a segment
        self._gradients = model.parameters.zeros_like_dense()
        self.gradient = self._gradients.vector
        self._targets: Ids = np.empty((0, 1), np.intp)

    def read(self, segment: Ids, begins: bool) -> Array:
        """Return the losses (n,) of a segment (n + 1,) in nats.

        begins: whether the segment begins a text; otherwise it continues the previous segment.
        """
        if begins:
            self._state[...] = 0
        inputs, self._targets = segment[:-1, None], segment[1:, None]
        activations = self._activations_for_targets()
        self._state = self.model.forward(inputs, self._state, activations)
        return cross_entropy(self.log_probs, segment[1:])

    @property
    def log_probs(self) -> Array:
        """The model's predictions (n, V) of the last segment; find_gradient overwrites them."""
        return self._activations_for_targets().log_probs

    def find_gradient(self) -> None:
        """Set `gradient` to that of the last segment's mean loss; call it once after each read."""
        scale = 1 / len(self._targets)
        activations = self._activations_for_targets()
        self.model.backward(self._targets, activations, self._gradients, scale)

    def table_gradient(self) -> tuple[Ids, Array]:
        """Return the gradient of the sum of the losses for the table of n-grams.

        Call find_gradient before table_gradient: find_gradient computes the gradients of all
        weights and of the table.

        Returns the table rows (n, contexts) that each prediction used, and the gradients (n, V):
        all rows that a prediction used have the same gradient.
        """
        activations = self._activations_for_targets()
        return activations.ngram_rows, activations.log_probs * len(self._targets)

    def _activations_for_targets(self) -> Activations:
        n = len(self._targets)
        if n not in self._activations:
            self._activations[n] = self.model.new_activations(n, 1)
        return self._activations[n]


def gradient_rms(
    model: CharModel,
    ids: Ids,
    segment: int = DEFAULT_SEGMENT,
    *,
    workers: Workers | None = None,
    advance: Advance | None = None,
) -> Array:
    """Return the root mean square (P,) of the gradients of segments from all over a text.

    segment: the number of predictions in a segment.
    advance: called by each worker with the number of predictions just made.
    """
    workers = workers or Workers(1)
    span = SEGMENTS_PER_PLACE * segment
    places = np.unique(np.linspace(0, max(0, len(ids) - 1 - span), PLACES, dtype=np.intp))

    def work(k: int) -> tuple[Array, int]:
        reader, count = SegmentReader(model), 0
        squares = np.zeros_like(model.parameters.vector)
        for place in places[k :: workers.count]:
            for one, begins in segments(model, ids[place : place + span + 1], segment):
                check_cancelled()
                reader.read(one, begins)
                reader.find_gradient()
                for block in blocks(slice(0, len(squares))):
                    squares[block] += reader.gradient[block] ** 2
                count += 1
                if advance is not None:
                    advance(len(one) - 1)
        return squares, count

    with one_blas_thread():
        results = workers.run(work)
    count = sum(count for _, count in results)
    if not count:
        raise CharlstmError("a text of fewer than 2 characters has no gradient: give a longer text")
    squares: Array = np.sum([squares for squares, _ in results], axis=0)
    return np.sqrt(squares / count)


def rms_predictions(segment: int = DEFAULT_SEGMENT) -> int:
    """Return the number of predictions that gradient_rms makes on a long text."""
    return PLACES * SEGMENTS_PER_PLACE * segment


def own_text(model: CharModel, segment: int = DEFAULT_SEGMENT) -> Ids:
    """Generate a text with the model for gradient_rms; each call returns the same text."""
    steps = generate(model, start_ids(model.vocab), PLACES, Sampling(), generator(0, "sample"))
    texts = np.stack(list(islice(steps, SEGMENTS_PER_PLACE * segment)), axis=1)
    return texts.reshape(-1)
