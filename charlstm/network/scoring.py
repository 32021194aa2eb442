"""The loss of a model on texts: on each of several short ones, or the mean loss on a long one."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError
from charlstm.network.memory_needs import activation_bytes
from charlstm.network.stack import RecurrentStack
from charlstm.system.memory import require_memory
from charlstm.system.threads import Workers, check_cancelled, one_blas_thread
from charlstm.text.batches import line_spans
from charlstm.text.vocab import Vocab, line_end, start_ids
from charlstm.untrusted import whole_number

WINDOW_STEPS = 50  # time steps of one forward pass
WARM_UP_SYMBOLS = 1_000  # read by each of several streams before its first prediction counts
DEFAULT_BATCH_SIZE = 32
MAX_BATCH_SIZE = 64  # short texts
MAX_LOG_PROBABILITIES = 1 << 24  # numbers: steps * streams * vocabulary of one forward pass
MAX_GROUP_TEXTS = 8 * MAX_BATCH_SIZE  # short texts that are sorted by length together
BLOCK_CHARACTERS = 1 << 20  # of text in memory at a time

Advance = Callable[[int], None]  # called with the number of predictions just made


@dataclass(frozen=True)
class Loss:
    """The loss of a text: `nats` in total over `characters` predictions."""

    nats: float
    characters: int

    @property
    def nats_per_character(self) -> float:
        return self.nats / self.characters if self.characters else 0.0

    @property
    def bits_per_character(self) -> float:
        return self.nats_per_character / math.log(2)

    def bits_per_byte(self, bytes: int) -> float:
        """Return the loss in bits per byte. bytes: the size in UTF-8 of the predicted symbols."""
        return self.bits_per_character * self.characters / bytes

    @property
    def perplexity(self) -> float:
        """exp(nats per character): the size of an equally uncertain choice among equals."""
        try:
            return math.exp(self.nats_per_character)
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Score:
    """The loss of a short text, symbol by symbol.

    nats (N,): the loss of each symbol. The first symbol has none if the vocabulary has no line
        end, from which it would be predicted.
    """

    text: str
    nats: Array

    @property
    def loss(self) -> Loss:
        return Loss(float(self.nats.sum(dtype=np.float64)), len(self.nats))

    @property
    def characters(self) -> int:
        return len(self.nats)

    @property
    def bits_per_character(self) -> float:
        return self.loss.bits_per_character

    @property
    def perplexity(self) -> float:
        return self.loss.perplexity


# -- short texts -----------------------------------------------------------------------------------


def score_texts(
    model: RecurrentStack, texts: Iterable[str], unknown: str = "error"
) -> Iterator[Score]:
    """Score each text by itself, as if it followed a line end, in the order given.

    Texts of similar length share a batch. Shorter ones are padded, and the padding is not scored.
    """
    for group in groups_of_texts(texts):
        sequences_by_text = [sequences_of(model, text, unknown) for text in group]
        sequences = [sequence for own in sequences_by_text for sequence in own]
        lengths = [len(sequence) for sequence in sequences]
        nats: dict[int, Array] = {}  # by the index of the sequence
        for batch in _batches_of_similar_length(lengths, _max_batch_size(model)):
            losses = _sequence_losses(model, [sequences[k] for k in batch])
            nats.update(zip(batch, losses, strict=True))
        first = 0
        for text, own in zip(group, sequences_by_text, strict=True):
            last = first + len(own)
            yield Score(text, np.concatenate([nats[k] for k in range(first, last)]))
            first = last


def groups_of_texts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Split texts into groups that fit into memory, also where single texts are long."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if len(group) == MAX_GROUP_TEXTS or characters > BLOCK_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def sequences_of(model: RecurrentStack, text: str, unknown: str) -> list[Ids]:
    """The sequences of ids that are read for a text, each from the state before a text.

    There is one sequence; a model of lines reads one for each line. A sequence begins with a line
    end, if the vocabulary has one, to predict its first symbol from.
    """
    start, ids = start_ids(model.vocab), model.vocab.encode(text, unknown=unknown)
    sequences = [ids]
    if model.config.lines:
        sequences = np.split(ids, np.flatnonzero(ids[:-1] == line_end(model.vocab)) + 1)
    return [np.concatenate((start, sequence)).astype(np.intp) for sequence in sequences]


def _max_batch_size(model: RecurrentStack) -> int:
    """The number of streams whose log-probabilities fit into memory."""
    fitting = MAX_LOG_PROBABILITIES // (WINDOW_STEPS * len(model.vocab))
    return max(1, min(MAX_BATCH_SIZE, fitting))


def _batches_of_similar_length(lengths: list[int], max_size: int) -> Iterator[list[int]]:
    """Batches of indices; in each, the longest is at most about twice as long as the shortest."""
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        full = len(batch) == max_size
        if batch and (full or lengths[k] > 2 * lengths[batch[0]] + WINDOW_STEPS):
            yield batch
            batch = []
        batch.append(k)
    yield batch


def _sequence_losses(model: RecurrentStack, sequences: list[Ids]) -> list[Array]:
    """The loss in nats of every id but the first, for each sequence of a batch."""
    counts = [max(0, len(sequence) - 1) for sequence in sequences]
    padded = np.zeros((max(counts) + 1, len(sequences)), np.intp)
    for stream, sequence in enumerate(sequences):
        padded[: len(sequence), stream] = sequence
    state = model.initial_state(len(sequences))
    windows = [np.empty((0, len(sequences)))]
    for start in range(0, max(counts), WINDOW_STEPS):
        check_cancelled()
        rows = padded[start : start + WINDOW_STEPS + 1]
        losses, state = model.losses(rows[:-1], rows[1:], state)
        windows.append(losses)
    losses = np.concatenate(windows)
    return [losses[:count, stream] for stream, count in enumerate(counts)]


# -- a long text -----------------------------------------------------------------------------------


def evaluate(
    model: RecurrentStack,
    ids: Ids,
    *,
    window: int | None = None,
    batch_size: int | None = None,
    workers: Workers | None = None,
    advance: Advance | None = None,
) -> Loss:
    """The loss of every id of a text but the first.

    window: None carries the state through the text. N evaluates cold windows, as nanoGPT does: N
        predictions each, from no characters but those of the window. A window begins with the
        last character that the one before predicted. A shorter last window counts too.
    batch_size: the number of spans of the text that are read in parallel. With carried state, each
        span is read after the 1,000 characters before it, so that the loss hardly depends on it.
    advance: called by each worker with the number of predictions just made.
    """
    workers = workers or Workers(1)
    if model.config.lines:
        if window is not None or batch_size is not None:
            raise CharlstmError("a model of lines reads each line afresh: no window, no batch_size")
        return _evaluate_lines(model, ids, workers, advance)
    predictions = len(ids) - 1
    if predictions < 1:
        raise CharlstmError("a text of fewer than 2 characters has nothing to predict")
    if window is not None and whole_number("window", window) < 1:
        raise CharlstmError(f"window must be 1 or more, not {window}")
    if batch_size is not None and whole_number("batch_size", batch_size) < 1:
        raise CharlstmError(f"batch_size must be 1 or more, not {batch_size}")
    batch_size = batch_size or min(DEFAULT_BATCH_SIZE, _max_batch_size(model))
    if window is None:
        # few enough streams for each to have its full warm-up before it
        batch_size = min(batch_size, max(1, predictions // WARM_UP_SYMBOLS))
        span = -(-predictions // batch_size)
        warm_up = WARM_UP_SYMBOLS if batch_size > 1 else 0
        groups = np.array_split(np.arange(batch_size) * span, min(batch_size, workers.count))
    else:
        span, warm_up = min(window, predictions), 0
        starts = np.arange(0, predictions, span)
        groups = np.array_split(starts, -(-len(starts) // batch_size))

    streams = max(map(len, groups)) * min(workers.count, len(groups))
    steps = min(WINDOW_STEPS, max(span, warm_up))
    require_memory(
        steps * streams * activation_bytes(model.config, len(model.vocab)),
        f"a batch of {streams:,} streams",
        "take a smaller --batch-size",
    )

    def nats_of_worker(k: int) -> float:
        return sum(
            _nats_of_spans(model, ids, group, span, warm_up, advance)
            for group in groups[k :: workers.count]
        )

    with one_blas_thread():
        return Loss(sum(workers.run(nats_of_worker)), predictions)


def _evaluate_lines(
    model: RecurrentStack, ids: Ids, workers: Workers, advance: Advance | None
) -> Loss:
    """The loss of every symbol of every line that is not empty, each line read afresh."""
    end = line_end(model.vocab)
    starts, stops = line_spans(ids, end, len(ids))
    if not len(starts):
        raise CharlstmError("a text of empty lines has nothing to predict")
    lengths = (stops - starts).tolist()
    batches = list(_batches_of_similar_length(lengths, _max_batch_size(model)))

    def nats_of_worker(k: int) -> float:
        total = 0.0
        for batch in batches[k :: workers.count]:
            lines = [np.append(end, ids[starts[n] : stops[n]]).astype(np.intp) for n in batch]
            losses = _sequence_losses(model, lines)
            total += sum(float(nats.sum(dtype=np.float64)) for nats in losses)
            if advance is not None:
                advance(sum(map(len, losses)))
        return total

    with one_blas_thread():
        return Loss(sum(workers.run(nats_of_worker)), sum(lengths))


def _nats_of_spans(
    model: RecurrentStack,
    ids: Ids,
    starts: Ids,
    span: int,
    warm_up: int,
    advance: Advance | None,
) -> float:
    """The nats of ids[s + 1] .. ids[s + span], as far as the text goes, summed over the starts s.

    The spans are read in parallel, each from a state of zeros and after the `warm_up` ids before
    it, whose loss does not count.
    """
    last = len(ids) - 1
    state = model.initial_state(len(starts))
    total = 0.0
    activations = None
    for step in [*range(-warm_up, 0, WINDOW_STEPS), *range(0, span, WINDOW_STEPS)]:
        check_cancelled()
        if step == 0:
            state[:, :, starts < warm_up] = 0  # their warm-up began before the text does
        stop = min(step + WINDOW_STEPS, 0 if step < 0 else span)
        positions = starts + np.arange(step, stop)[:, None]
        inputs, targets = (ids[np.clip(positions + k, 0, last)].astype(np.intp) for k in (0, 1))
        if activations is None or activations.steps != stop - step:
            activations = model.new_activations(stop - step, len(starts))
        losses, state = model.losses(inputs, targets, state, activations)
        if step >= 0:
            counted = positions < last
            total += float(losses.sum(where=counted, dtype=np.float64))
            if advance is not None:
                advance(int(counted.sum()))
    return total


def predicted_ids(model: RecurrentStack, ids: Ids) -> Ids:
    """The ids whose loss evaluate counts: all but the first; of lines, all but empty lines."""
    if not model.config.lines:
        return ids[1:]
    starts, stops = line_spans(ids, line_end(model.vocab), len(ids))
    lines = [ids[start:stop] for start, stop in zip(starts, stops, strict=True)]
    return np.concatenate([ids[:0], *lines])


def utf8_size(vocab: Vocab, ids: Ids) -> int | None:
    """The bytes of a text in UTF-8; None at level word, where spaces and rare words are lost."""
    if vocab.level == "word":
        return None
    if vocab.level == "byte":
        return len(ids)
    sizes = np.array([len(symbol.encode("utf-8", "surrogatepass")) for symbol in vocab.symbols])
    return sum(
        int(np.bincount(ids[k : k + BLOCK_CHARACTERS], minlength=len(vocab)) @ sizes)
        for k in range(0, len(ids), BLOCK_CHARACTERS)
    )
