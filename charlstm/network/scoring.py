"""How well a model predicts a text: short texts one by one, or the mean loss of a long one."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError
from charlstm.network.memory_needs import activation_bytes
from charlstm.network.stack import RecurrentStack
from charlstm.system.memory import require_memory
from charlstm.system.threads import Workers, one_blas_thread
from charlstm.text.batches import line_spans
from charlstm.text.vocab import Vocab, line_end, start_ids

WARM_UP = 1_000  # characters that a stream reads before the first one it counts
STEPS_AT_ONCE = 50
BATCH_SIZE = 32
TEXTS_AT_ONCE = 64
PROBABILITIES_AT_ONCE = 1 << 24
CHARACTERS_AT_ONCE = 1 << 20


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

    @property
    def perplexity(self) -> float:
        """exp(nats per character): as uncertain as a fair choice among so many."""
        try:
            return math.exp(self.nats_per_character)
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Score:
    """A short text under a model.

    nats: of each scored symbol, (N,); all of the text's, but for the first if nothing that the
        model knows could come before it.
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


def score_texts(
    model: RecurrentStack, texts: Iterable[str], unknown: str = "error"
) -> Iterator[Score]:
    """Score each text by itself, as if it followed a line end, in the order given.

    Texts of like length share a batch; a shorter one is padded, and its padding not looked at.
    """
    for chunk in chunks(texts):
        parts = [parts_of(model, text, unknown) for text in chunk]
        sequences = [part for parts_of_one in parts for part in parts_of_one]
        lengths = [len(sequence) for sequence in sequences]
        nats: dict[int, Array] = {}
        for batch in _batches(lengths, _most_at_once(model)):
            losses = _batch_losses(model, [sequences[k] for k in batch])
            nats.update(zip(batch, losses, strict=True))
        first = 0
        for text, parts_of_one in zip(chunk, parts, strict=True):
            last = first + len(parts_of_one)
            yield Score(text, np.concatenate([nats[k] for k in range(first, last)]))
            first = last


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """So many texts at a time that they fit into memory, however long they are."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if len(chunk) == 8 * TEXTS_AT_ONCE or size > CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _most_at_once(model: RecurrentStack) -> int:
    """The texts whose probabilities fit into memory side by side."""
    return max(1, min(TEXTS_AT_ONCE, PROBABILITIES_AT_ONCE // (STEPS_AT_ONCE * len(model.vocab))))


def _batches(lengths: list[int], most: int) -> Iterator[list[int]]:
    """Batches of up to so many texts, the longest at most about twice as long as the shortest."""
    batch: list[int] = []
    for k in sorted(range(len(lengths)), key=lambda k: lengths[k]):
        full = len(batch) == most
        if batch and (full or lengths[k] > 2 * lengths[batch[0]] + STEPS_AT_ONCE):
            yield batch
            batch = []
        batch.append(k)
    yield batch


def parts_of(model: RecurrentStack, text: str, unknown: str) -> list[Ids]:
    """The ids of what is read from a fresh state, after a line end where the model knows one.

    That is the text or, where the model is one of lines, each of its lines.
    """
    start, ids = start_ids(model.vocab), model.vocab.encode(text, unknown=unknown)
    parts = [ids]
    if model.config.lines:
        parts = np.split(ids, np.flatnonzero(ids[:-1] == line_end(model.vocab)) + 1)
    return [np.concatenate((start, part)).astype(np.intp) for part in parts]


def _batch_losses(model: RecurrentStack, sequences: list[Ids]) -> list[Array]:
    """The nats of every id but the first, of each sequence."""
    counts = [max(0, len(sequence) - 1) for sequence in sequences]
    padded = np.zeros((max(counts) + 1, len(sequences)), np.intp)
    for stream, sequence in enumerate(sequences):
        padded[: len(sequence), stream] = sequence
    state = model.initial_state(len(sequences))
    pieces = [np.empty((0, len(sequences)))]
    for start in range(0, max(counts), STEPS_AT_ONCE):
        rows = padded[start : start + STEPS_AT_ONCE + 1]
        losses, state = model.losses(rows[:-1], rows[1:], state)
        pieces.append(losses)
    losses = np.concatenate(pieces)
    return [losses[:count, stream] for stream, count in enumerate(counts)]


def evaluate(
    model: RecurrentStack,
    ids: Ids,
    *,
    window: int | None = None,
    batch_size: int | None = None,
    workers: Workers | None = None,
    progress: Callable[[int], None] | None = None,
) -> Loss:
    """The loss of every id of a text but the first.

    window: None carries the state through the text. N measures on cold windows, as nanoGPT
        counts: N predictions, each from the characters of its own window alone; the next window
        starts on the last character predicted, and a short last window counts too.
    batch_size: how many parts of the text are read side by side. With carried state each part is
        first warmed on the 1,000 characters before it, so that the loss hardly depends on it.
    progress: called by each worker with the number of predictions just counted.
    """
    if model.config.lines:
        if window is not None or batch_size is not None:
            raise CharlstmError("a model of lines reads each line afresh: no window, no batch_size")
        return _evaluate_lines(model, ids, workers or Workers(1), progress)
    predictions = len(ids) - 1
    if predictions < 1:
        raise CharlstmError("a text of fewer than 2 characters has nothing to predict")
    if window is not None and window < 1:
        raise CharlstmError(f"window must be 1 or more, not {window}")
    if batch_size is not None and batch_size < 1:
        raise CharlstmError(f"batch_size must be 1 or more, not {batch_size}")
    workers = workers or Workers(1)
    batch_size = batch_size or min(BATCH_SIZE, _most_at_once(model))
    if window is None:
        # at most so many that each stream has its whole warm-up before it
        batch_size = min(batch_size, max(1, predictions // WARM_UP))
        span = -(-predictions // batch_size)
        warm_up = WARM_UP if batch_size > 1 else 0
        groups = np.array_split(np.arange(batch_size) * span, min(batch_size, workers.count))
    else:
        span, warm_up = min(window, predictions), 0
        starts = np.arange(0, predictions, span)
        groups = np.array_split(starts, -(-len(starts) // batch_size))

    side_by_side = max(map(len, groups)) * min(workers.count, len(groups))
    steps = min(STEPS_AT_ONCE, max(span, warm_up))
    require_memory(
        steps * side_by_side * activation_bytes(model.config, len(model.vocab)),
        f"{side_by_side:,} parts of the text side by side",
        "take fewer --batch-size",
    )

    def work(k: int) -> float:
        return sum(
            _nats_of_spans(model, ids, group, span, warm_up, progress)
            for group in groups[k :: workers.count]
        )

    with one_blas_thread():
        return Loss(sum(workers.run(work)), predictions)


def counted_symbols(model: RecurrentStack, ids: Ids) -> Ids:
    """Those of a text that are predicted: all but the first, or all of the lines but empty ones."""
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
        int(np.bincount(ids[k : k + CHARACTERS_AT_ONCE], minlength=len(vocab)) @ sizes)
        for k in range(0, len(ids), CHARACTERS_AT_ONCE)
    )


def _evaluate_lines(
    model: RecurrentStack, ids: Ids, workers: Workers, progress: Callable[[int], None] | None
) -> Loss:
    """The loss of every symbol of every line that is not empty, each line read afresh."""
    end = line_end(model.vocab)
    starts, stops = line_spans(ids, end, len(ids))
    if not len(starts):
        raise CharlstmError("a text of empty lines has nothing to predict")
    lengths = (stops - starts).tolist()
    batches = list(_batches(lengths, _most_at_once(model)))

    def work(k: int) -> float:
        total = 0.0
        for batch in batches[k :: workers.count]:
            lines = [np.append(end, ids[starts[n] : stops[n]]).astype(np.intp) for n in batch]
            losses = _batch_losses(model, lines)
            total += sum(float(nats.sum(dtype=np.float64)) for nats in losses)
            if progress is not None:
                progress(sum(map(len, losses)))
        return total

    with one_blas_thread():
        return Loss(sum(workers.run(work)), sum(lengths))


def _nats_of_spans(
    model: RecurrentStack,
    ids: Ids,
    starts: Ids,
    span: int,
    warm_up: int,
    progress: Callable[[int], None] | None,
) -> float:
    """The nats of ids[s + 1] .. ids[s + span] (as far as the text goes), summed over the starts s.

    The spans are read side by side, each from a zero state and after `warm_up` ids before it
    that do not count.
    """
    last = len(ids) - 1
    state = model.initial_state(len(starts))
    total = 0.0
    activations, room = None, 0
    for step in [*range(-warm_up, 0, STEPS_AT_ONCE), *range(0, span, STEPS_AT_ONCE)]:
        if step == 0:
            state[:, :, starts < warm_up] = 0  # what they read began before the text does
        stop = min(step + STEPS_AT_ONCE, 0 if step < 0 else span)
        positions = starts + np.arange(step, stop)[:, None]
        inputs, targets = (ids[np.clip(positions + k, 0, last)].astype(np.intp) for k in (0, 1))
        if room != stop - step:
            room = stop - step
            activations = model.new_activations(room, len(starts))
        losses, state = model.losses(inputs, targets, state, activations)
        if step >= 0:
            counted = positions < last
            total += float(losses.sum(where=counted, dtype=np.float64))
            if progress is not None:
                progress(int(counted.sum()))
    return total
