"""Predictions: the symbols that a model expects at each position of a text, and its surprisal."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.network.activations import Activations
from charlstm.network.scoring import Score, finite, nats_by_character, sequence_losses
from charlstm.network.stack import RecurrentStack
from charlstm.pages.page import PAGES, notebook_frame, render
from charlstm.pages.text_data import text_data
from charlstm.system.threads import one_blas_thread
from charlstm.text.vocab import UnknownTreatment, Vocab, line_end, start_ids

WINDOW_STEPS = 100  # time steps of one forward pass
EXPECTED = 5  # number of likeliest symbols that are kept at each position
STREAMS = 16  # largest number of pieces of a text that symbol_losses reads in parallel
WARM_UP_SYMBOLS = 50  # symbols at the start of a piece whose losses do not count
VIEWED_SYMBOLS = 2_000  # largest part of a scored text that a notebook shows


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model on a text of N symbols.

    ids: (N,) the symbols of the text.
    bits: (N,) the surprisal of each symbol in bits; NaN for the first symbol if not predicted.
    expected: (N, K) the K likeliest symbols at each position, before the symbol there is read.
    probabilities: (N, K) the probabilities of the expected symbols.
    """

    ids: Ids
    bits: Array
    expected: Ids
    probabilities: Array


def windows_of(model: RecurrentStack, sequence: Ids, steps: int) -> list[tuple[bool, Ids]]:
    """Cut a sequence into windows of at most `steps` ids: (is read from a zero state, ids (T, 1)).

    A model of lines reads each line from a state of zeros, as in training; another model reads the
    whole sequence.
    """
    starts = np.zeros(1, np.intp)
    if model.config.lines:
        starts = np.union1d(starts, np.flatnonzero(sequence == line_end(model.vocab)))
    return [
        (first == start, sequence[first : min(first + steps, stop), None])
        for start, stop in zip(starts, [*starts[1:], len(sequence)], strict=True)
        for first in range(start, stop, steps)
    ]


def predictions_of(log_probs: Array, sequence: Ids, skipped: int) -> Predictions:
    """Return the predictions of a sequence of N ids from the log probabilities (N, V) of a model.

    Row k of log_probs predicts sequence[k + 1].

    skipped: the number of ids before the text, 0 or 1. Without such an id, nothing comes before
        the first symbol to predict it.
    """
    before = log_probs[:-1].astype(np.float64)
    if skipped == 0:
        before = np.concatenate((np.full((1, before.shape[1]), np.nan), before))
    ids = sequence[skipped:]
    expected = np.argsort(-before, axis=1, kind="stable")[:, :EXPECTED]
    return Predictions(
        ids=ids,
        bits=-np.take_along_axis(before, ids[:, None], axis=1)[:, 0] / np.log(2),
        expected=expected,
        probabilities=np.exp(np.take_along_axis(before, expected, axis=1)),
    )


def activations_of_windows(model: RecurrentStack, sequence: Ids) -> Iterator[Activations]:
    """Yield the activations of each window of a sequence of ids that a model reads."""
    with one_blas_thread():
        for is_fresh, window in windows_of(model, sequence, WINDOW_STEPS):
            if is_fresh:
                state = model.initial_state(1)
            activations = model.new_activations(*window.shape)
            state = model.forward(window, state, activations)
            yield activations


def predict(model: RecurrentStack, ids: Ids) -> Predictions:
    """Return the predictions of a model that reads a text as if it followed a line end."""
    start = start_ids(model.vocab)
    sequence = np.concatenate((start, ids)).astype(np.intp)
    log_probs = [each.log_probs for each in activations_of_windows(model, sequence)]
    return predictions_of(np.concatenate(log_probs), sequence, len(start))


def symbol_losses(model: RecurrentStack, ids: Ids) -> tuple[Ids, Array]:
    """Return the positions of symbols of a text, in ascending order, and their losses in nats.

    The text is read in pieces, in parallel. The first losses of each piece are left out, because
    the model has read little before them. A model of lines reads each line from a state of zeros,
    except what comes before the first line end.
    """
    if model.config.lines:
        ends = np.flatnonzero(ids == line_end(model.vocab))
        starts, stops, skipped = ends, np.append(ends[1:], len(ids) - 1), 0
    else:
        streams = max(1, min(STREAMS, len(ids) // (8 * WARM_UP_SYMBOLS)))
        borders = np.linspace(0, len(ids) - 1, streams + 1).astype(np.intp)
        starts, stops = borders[:-1], borders[1:]
        skipped = WARM_UP_SYMBOLS
    pieces = [
        (start, stop) for start, stop in zip(starts, stops, strict=True) if stop - start > skipped
    ]
    if not pieces:
        return np.empty(0, np.intp), np.empty(0)
    with one_blas_thread():
        losses = sequence_losses(model, [ids[a : b + 1].astype(np.intp) for a, b in pieces])
    positions = [np.arange(a + 1 + skipped, b + 1) for a, b in pieces]
    return np.concatenate(positions), np.concatenate([piece[skipped:] for piece in losses])


def predictions_data(vocab: Vocab, predictions: Predictions) -> dict[str, Any]:
    """Return a text with its predictions for a page: see text_data in pages/text_data.py."""
    return text_data(
        vocab.unit,
        vocab.symbols,
        predictions.ids,
        predictions.bits,
        predictions.expected,
        predictions.probabilities,
        _spaced(vocab, predictions.ids),
    )


def score_view(model: RecurrentStack, score: Score, unknown: UnknownTreatment) -> str | None:
    """Return a scored text by surprisal, with what the model expected, for a notebook.

    The model reads the text again, because a score has no more than the losses. None if the text
    is empty, or if the model has learned since: the losses would belong to other weights.

    unknown: what was done with unknown characters when the text was scored.
    """
    ids = model.vocab.encode(score.text, unknown=unknown)
    if not len(ids):
        return None
    predictions = predict(model, ids[:VIEWED_SYMBOLS])
    start = start_ids(model.vocab)
    sequence = np.concatenate((start, predictions.ids))
    losses = predictions.bits[1 - len(start) :] * np.log(2)
    nats = nats_by_character(model.vocab, [sequence], losses)
    if len(ids) > VIEWED_SYMBOLS:
        nats = nats[:-1]  # the last character may be cut
    if not np.allclose(nats, score.nats[: len(nats)], rtol=0.01, atol=0.01):
        return None
    shown = {"symbols": len(ids), "bits_per_symbol": finite(score.bits_per_character)}
    data = shown | {"text": predictions_data(model.vocab, predictions)}
    lines = score.text.count("\n") + len(ids) // 60 + 1
    page = render(PAGES, "score", data, ("text",))
    return notebook_frame(page, height=min(560, 290 + 27 * lines))


def _spaced(vocab: Vocab, ids: Ids) -> list[int]:
    """Return 1 for each word after a space, else 0; an empty list for characters and bytes."""
    if vocab.level != "word":
        return []
    decoder = vocab.decoder()
    return [int(decoder.feed(int(id_)) != vocab.symbols[id_]) for id_ in ids]
