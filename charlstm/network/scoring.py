"""The loss of a model: on each of several short texts, or on one long text."""

import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError, errors_begin_with
from charlstm.network.memory_needs import activation_bytes
from charlstm.network.spans import Spans
from charlstm.network.stack import RecurrentStack
from charlstm.system.memory import require_memory
from charlstm.system.threads import Workers, check_cancelled, one_blas_thread
from charlstm.text.batches import line_blocks, line_spans
from charlstm.text.vocab import UnknownTreatment, Vocab, line_end, start_ids
from charlstm.untrusted import whole_number

WINDOW_STEPS = 50  # time steps of one forward pass
WARM_UP_SYMBOLS = 1_000  # symbols that a stream reads before the first prediction that counts
DEFAULT_BATCH_SIZE = 32
MAX_BATCH_SIZE = 64  # maximum number of short texts in a batch
MAX_LOG_PROBABILITIES = 1 << 24  # maximum of steps * streams * symbols in a forward pass
MAX_GROUP_TEXTS = 8 * MAX_BATCH_SIZE  # maximum number of short texts in a group (groups_of_texts)
BLOCK_LENGTH = 1 << 20  # number of characters or ids of a text that are processed at a time

Advance = Callable[[int], None]  # a progress function: takes the number of predictions just made


@dataclass(frozen=True)
class Loss:
    """The loss of a text: `nats` is the sum over all predictions, `characters` their number.

    A character that is spelled as several bytes counts once. For a model of words or bytes, each
    "character" in these names is a word or a byte.
    """

    nats: float
    characters: int

    @property
    def nats_per_character(self) -> float:
        """The mean loss in nats; NaN for a text without predictions, which is no likely text."""
        return self.nats / self.characters if self.characters else math.nan

    @property
    def bits_per_character(self) -> float:
        """The mean loss in bits."""
        return self.nats_per_character / math.log(2)

    def bits_per_byte(self, bytes: int) -> float:
        """Return the loss in bits per byte. bytes: the size in UTF-8 of the predicted symbols."""
        return self.bits_per_character * self.characters / whole_number("bytes", bytes, least=1)

    @property
    def perplexity(self) -> float:
        """exp(nats per character).

        A model of perplexity k is as uncertain as in a choice among k equally likely characters.
        """
        try:
            return math.exp(self.nats_per_character)
        except OverflowError:
            return math.inf


@dataclass(frozen=True, eq=False)
class Score:
    """The loss of a short text, character by character.

    A score is equal only to itself: compare the texts, or the losses with numpy.array_equal.

    nats (N,): the loss of each character, or of each byte or word. The first one is predicted from
        a line end; its loss is left out if the vocabulary has no line end. The means of a text
        without losses are NaN.
    """

    text: str
    nats: Array
    # Returns the view for a notebook. It is no field: it is not pickled.
    _view: ClassVar[partial[str | None] | None] = None

    def __repr__(self) -> str:
        return f"Score({reprlib.repr(self.text)}, {self.bits_per_character:.4g} bits per character)"

    def _repr_html_(self) -> str | None:
        """Return a view of the text by surprisal, for a notebook; None if the model is gone."""
        return None if self._view is None else self._view()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle and copy the text and the losses, without the model that gave them."""
        return {"text": self.text, "nats": self.nats}

    @property
    def loss(self) -> Loss:
        """The loss of the whole text."""
        return Loss(float(self.nats.sum(dtype=np.float64)), len(self.nats))

    @property
    def characters(self) -> int:
        """The number of characters that were predicted."""
        return len(self.nats)

    @property
    def bits_per_character(self) -> float:
        """The mean loss in bits."""
        return self.loss.bits_per_character

    @property
    def perplexity(self) -> float:
        """The perplexity of the text: see Loss."""
        return self.loss.perplexity

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, as `charlstm score` prints them; None for NaN or infinity."""
        return {
            "text": self.text,
            "characters": self.characters,
            "nats": self.loss.nats,
            "bits_per_character": finite(self.bits_per_character),
            "perplexity": finite(self.perplexity),
        }


def finite(value: float) -> float | None:
    """Return a number for JSON: None for NaN and infinity, which JSON does not have."""
    return value if math.isfinite(value) else None


# -- short texts -----------------------------------------------------------------------------------


def score_texts(
    model: RecurrentStack,
    texts: Iterable[str],
    unknown: UnknownTreatment = "error",
    workers: Workers | None = None,
    name: str = "",
) -> Iterator[Score]:
    """Yield the score of each text, in the order given, as if the text followed a line end.

    Texts of similar length share a batch. The shorter texts of a batch are padded, and the padding
    is not scored. The batches are shared among the workers.

    name: the name of the list of texts: errors then begin with the refused text, as `name[3]`.
    """
    workers = workers or Workers(1)
    done = 0
    for group in groups_of_texts(texts):
        sequences_by_text = []
        for number, text in enumerate(group, done):
            with errors_begin_with(f"`{name}[{number}]`: " if name else ""):
                sequences_by_text.append(sequences_of(model, text, unknown))
        done += len(group)
        sequences = [sequence for own in sequences_by_text for sequence in own]
        lengths = [len(sequence) for sequence in sequences]
        batches = list(_batches_of_similar_length(lengths, _max_batch_size(model)))

        def work(
            k: int, batches: list[list[int]] = batches, sequences: list[Ids] = sequences
        ) -> list[list[Array]]:
            own = batches[k :: workers.count]
            return [sequence_losses(model, [sequences[n] for n in batch]) for batch in own]

        with one_blas_thread():
            found = workers.run(work)
        nats: dict[int, Array] = {}  # losses by the index of the sequence
        for number, batch in enumerate(batches):
            losses = found[number % workers.count][number // workers.count]
            nats.update(zip(batch, losses, strict=True))
        first = 0
        for text, own in zip(group, sequences_by_text, strict=True):
            last = first + len(own)
            of_text = np.concatenate([nats[k] for k in range(first, last)])
            yield Score(text, nats_by_character(model.vocab, own, of_text))
            first = last


def nats_by_character(vocab: Vocab, sequences: Sequence[Ids], nats: Array) -> Array:
    """Return the losses of the characters of a text: a spelled character has the sum of its bytes.

    sequences: the ids of the text; the first id of each is not predicted. nats (N,): the losses of
    all other ids.
    """
    continues = vocab.continues(np.concatenate([sequence[1:] for sequence in sequences]))
    if not continues.any():
        return nats
    continues[0] = False
    characters: Array = np.add.reduceat(nats, np.flatnonzero(~continues))
    return characters


def groups_of_texts(texts: Iterable[str]) -> Iterator[list[str]]:
    """Split texts into groups whose total length is limited, so that a group fits into memory."""
    group: list[str] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += len(text)
        if len(group) == MAX_GROUP_TEXTS or characters > BLOCK_LENGTH:
            yield group
            group, characters = [], 0
    if group:
        yield group


def sequences_of(model: RecurrentStack, text: str, unknown: UnknownTreatment) -> list[Ids]:
    """Return the sequences of ids that are read to score a text, each from a state of zeros.

    A model of lines reads one sequence per line; another model reads the text as one sequence. If
    the vocabulary has a line end, each sequence begins with one, from which the first symbol of the
    text or line is predicted.
    """
    start, ids = start_ids(model.vocab), model.vocab.encode(text, unknown=unknown)
    sequences = [ids]
    if model.config.lines:
        sequences = np.split(ids, np.flatnonzero(ids[:-1] == line_end(model.vocab)) + 1)
    return [np.concatenate((start, sequence)).astype(np.intp) for sequence in sequences]


def _max_batch_size(model: RecurrentStack) -> int:
    """Return the largest batch size within MAX_BATCH_SIZE and MAX_LOG_PROBABILITIES, at least 1."""
    fitting = MAX_LOG_PROBABILITIES // (WINDOW_STEPS * len(model.vocab))
    return max(1, min(MAX_BATCH_SIZE, fitting))


def _batches_of_similar_length(lengths: list[int], max_size: int) -> Iterator[list[int]]:
    """Yield batches of indices of sequences; lengths in a batch differ by a factor of about two."""
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        full = len(batch) == max_size
        if batch and (full or lengths[k] > 2 * lengths[batch[0]] + WINDOW_STEPS):
            yield batch
            batch = []
        batch.append(k)
    yield batch


def sequence_losses(model: RecurrentStack, sequences: list[Ids]) -> list[Array]:
    """Return the loss in nats of every id but the first, for each sequence of a batch.

    Each sequence is read from a state of zeros.
    """
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
    starts: Ids | None = None,
    window: int | None = None,
    batch_size: int | None = None,
    workers: Workers | None = None,
    advance: Advance | None = None,
) -> Loss:
    """Return the loss of a text, summed over all ids but the first.

    starts: the positions at which texts start, if `ids` is several texts joined, in ascending order
        from 0. Each text is read from a state of zeros, and its first id is not predicted. A model
        of lines ignores `starts`, and reads each line from a state of zeros.
    window: None carries the state through the text. A number N evaluates cold windows, as nanoGPT
        does: windows of N predictions, each of which starts from a state of zeros. A window begins
        with the last character that the previous window predicted. The last window may be shorter.
    batch_size: the number of spans of the text that are read in parallel. If the state is carried,
        the 1,000 characters before a span are read first, so that the loss hardly depends on the
        batch size.
    advance: a function that each worker calls with the number of predictions just made.
    """
    workers = workers or Workers(1)
    if model.config.lines:
        if window is not None or batch_size is not None:
            raise CharlstmError(
                "a model of lines reads each line from a state of zeros: leave out `window` and "
                "`batch_size`"
            )
        return _evaluate_lines(model, ids, workers, advance)
    starts = np.zeros(1, np.int64) if starts is None else starts
    stops = np.append(starts[1:], len(ids)) - 1
    predictions = int((stops - starts).sum())
    if predictions < 1:
        raise CharlstmError(
            "a text of fewer than 2 characters has nothing to predict: give a longer text"
        )
    if window is not None:
        window = whole_number("window", window, least=1)
    if batch_size is not None:
        batch_size = whole_number("batch_size", batch_size, least=1)
    batch_size = batch_size or min(DEFAULT_BATCH_SIZE, _max_batch_size(model))
    if window is None:
        # The number of streams is limited so that every span that does not begin a text has a full
        # warm-up.
        batch_size = min(batch_size, max(1, predictions // WARM_UP_SYMBOLS))
        counts = np.maximum(1, (stops - starts) // (predictions // batch_size))
        spans = Spans.cut(starts, stops, -(-(stops - starts) // counts))
        warm_up, batches = WARM_UP_SYMBOLS, min(batch_size, workers.count)
    else:
        spans = Spans.cut(starts, stops, np.minimum(min(window, len(ids)), stops - starts))
        warm_up, batches = 0, 1
    groups = -(-len(spans) * batches // batch_size)
    size, longer = divmod(len(spans), groups)  # the first `longer` groups have one span more

    streams = (size + bool(longer)) * min(workers.count, groups)
    steps = min(WINDOW_STEPS, max(int(spans.lengths[0]), warm_up))
    require_memory(
        steps * streams * activation_bytes(model.config, len(model.vocab)),
        f"a batch of {streams:,} streams",
        "take a smaller `batch_size`",
    )

    def nats_of_group(k: int) -> float:
        first = k * size + min(k, longer)
        starts, stops, begins = spans.of_group(first, size + (k < longer))
        return _nats_of_spans(model, ids, starts, stops, advance, warm_up * ~begins)

    def nats_of_worker(k: int) -> float:
        return sum(map(nats_of_group, range(k, groups, workers.count)))

    with one_blas_thread():
        nats = sum(workers.run(nats_of_worker))
    characters = model.vocab.count_characters
    return Loss(nats, characters(ids) - characters(ids[starts]))


def _evaluate_lines(
    model: RecurrentStack, ids: Ids, workers: Workers, advance: Advance | None
) -> Loss:
    """Return the summed loss of all lines that are not empty, each read from a state of zeros."""
    nats, predictions = 0.0, 0
    with one_blas_thread():
        for start, stop in line_blocks(ids, line_end(model.vocab), BLOCK_LENGTH):
            if stop - start > BLOCK_LENGTH:
                loss = Loss(_nats_of_long_line(model, ids[start:stop], advance), stop - start)
            else:
                loss = _evaluate_block_of_lines(model, ids[start:stop], workers, advance)
            nats, predictions = nats + loss.nats, predictions + loss.characters
    if not predictions:
        raise CharlstmError("a text of empty lines has nothing to predict")
    return Loss(nats, predictions - len(ids) + model.vocab.count_characters(ids))


def _evaluate_block_of_lines(
    model: RecurrentStack, ids: Ids, workers: Workers, advance: Advance | None
) -> Loss:
    """Return the summed loss of the lines of a block.

    The block must be so small that a list of its lines fits into memory.
    """
    end = line_end(model.vocab)
    starts, stops = line_spans(ids, end, len(ids))
    lengths = (stops - starts).tolist()
    if not lengths:
        return Loss(0.0, 0)
    batches = list(_batches_of_similar_length(lengths, _max_batch_size(model)))

    def nats_of_worker(k: int) -> float:
        total = 0.0
        for batch in batches[k :: workers.count]:
            lines = [np.append(end, ids[starts[n] : stops[n]]).astype(np.intp) for n in batch]
            losses = sequence_losses(model, lines)
            total += sum(float(nats.sum(dtype=np.float64)) for nats in losses)
            if advance is not None:
                advance(sum(map(len, losses)))
        return total

    return Loss(sum(workers.run(nats_of_worker)), sum(lengths))


def _nats_of_long_line(model: RecurrentStack, line: Ids, advance: Advance | None) -> float:
    """Return the nats of a line of any length, which is read in windows."""
    before = np.full((1, 1), line_end(model.vocab))
    nats, state = model.losses(before, line[:1, None].astype(np.intp), model.initial_state(1))
    if advance is not None:
        advance(1)
    start, stop = np.array([0]), np.array([len(line) - 1])
    rest = _nats_of_spans(model, line, start, stop, advance, state=state)
    return float(nats[0, 0]) + rest


def _nats_of_spans(
    model: RecurrentStack,
    ids: Ids,
    starts: Ids,
    stops: Ids,
    advance: Advance | None,
    warm_ups: Ids | None = None,
    state: Array | None = None,
) -> float:
    """Return the nats of ids[start + 1] .. ids[stop], summed over all spans.

    Each stream reads one span, and all streams are read in parallel. The streams start from
    `state`, or from zeros if `state` is None.

    warm_ups: (spans,) the number of ids that a stream reads before its span. The losses
        before the span do not count. All warm-ups other than 0 must be equal.
    """
    last = len(ids) - 1
    state = model.initial_state(len(starts)) if state is None else state
    warm_up = 0 if warm_ups is None else int(warm_ups.max())
    longest = int((stops - starts).max())
    total = 0.0
    activations = None
    for step in [*range(-warm_up, 0, WINDOW_STEPS), *range(0, longest, WINDOW_STEPS)]:
        check_cancelled()
        if step == 0 and warm_ups is not None:
            state[:, :, warm_ups == 0] = 0
        stop = min(step + WINDOW_STEPS, 0 if step < 0 else longest)
        positions = starts + np.arange(step, stop)[:, None]
        inputs, targets = (ids[np.clip(positions + k, 0, last)].astype(np.intp) for k in (0, 1))
        if activations is None or activations.steps != stop - step:
            activations = model.new_activations(stop - step, len(starts))
        losses, state = model.losses(inputs, targets, state, activations)
        if step >= 0:
            counted = positions < stops
            total += float(losses.sum(where=counted, dtype=np.float64))
            if advance is not None:
                advance(int(counted.sum()))
    return total
