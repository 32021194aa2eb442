"""What cells and gates do on a text, and which cells follow its quotes, lines and brackets."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError
from charlstm.network.layers import CELLS, LayerActivations
from charlstm.network.layers.gru import GRUActivations
from charlstm.network.layers.lstm import LSTMActivations
from charlstm.network.model import CharModel
from charlstm.system.threads import one_blas_thread
from charlstm.text.vocab import Vocab, line_end, start_ids

STEPS_AT_ONCE = 100
EXPECTED = 5  # the likeliest symbols kept at each position
# For each cell, the letter and the name of the gates that open and close: all blocks but the last.
GATES = {cell: dict(list(layer.GATES.items())[:-1]) for cell, layer in CELLS.items()}

QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»"}  # not single ones, which may be apostrophes
BRACKETS = {"(": ")", "[": "]", "{": "}"}
RAREST = 5  # positions that a feature must hold at, and fail at, to be compared with cells


@dataclass(frozen=True)
class Activity:
    """What a model does on a text of N symbols, with L layers of H units and G gates."""

    ids: Ids  # (N,)
    bits: Array  # (N,): the surprisal of each; nan for a first one that nothing comes before
    expected: Ids  # (N, K): the likeliest symbols at each position before it is read
    probabilities: Array  # (N, K): theirs
    cells: Array  # (L, N, H), within -1..1, each after its symbol: tanh(c) of an LSTM, else h
    gates: Array  # (L, G, N): openness 0..1 while reading the symbol, the mean over the units


@dataclass(frozen=True)
class Reaction:
    """A cell whose value goes along with a feature of the text, or against it."""

    layer: int
    unit: int
    correlation: float  # Pearson's; for a feature of yes and no, that is the point-biserial one


def _windows(model: CharModel, sequence: Ids) -> Iterator[tuple[bool, Ids]]:
    """A sequence in windows (T, 1), each with whether the state before it is a fresh one."""
    starts = np.zeros(1, np.intp)
    if model.config.lines:
        starts = np.union1d(starts, np.flatnonzero(sequence == line_end(model.vocab)))
    for start, stop in zip(starts, [*starts[1:], len(sequence)], strict=True):
        for first in range(start, stop, STEPS_AT_ONCE):
            yield first == start, sequence[first : min(first + STEPS_AT_ONCE, stop), None]


def measure_activity(model: CharModel, ids: Ids) -> Activity:
    """Read a text as if it followed a line end, and keep what the layers that train did.

    A model of lines reads each line afresh, as it does everywhere.
    """
    if len(ids) == 0:
        raise CharlstmError("there is nothing to show: the text is empty")
    start = start_ids(model.vocab)
    sequence = np.concatenate((start, ids)).astype(np.intp)
    cells, gates, log_probs = [], [], []
    with one_blas_thread():
        for begins, window in _windows(model, sequence):
            if begins:
                state = model.initial_state(1)
            activations = model.new_activations(*window.shape)
            state = model.forward(window, state, activations)
            values = [_values(layer) for layer in activations.layers]
            cells.append(np.stack([cell for cell, _ in values]))
            gates.append(np.stack([openness for _, openness in values]))
            log_probs.append(activations.log_probs)
    before = np.concatenate(log_probs)[:-1].astype(np.float64)  # row k predicts sequence[k + 1]
    if len(start) == 0:  # and nothing predicts the first
        before = np.concatenate((np.full((1, before.shape[1]), np.nan), before))
    ids = sequence[len(start) :]
    expected = np.argsort(-before, axis=1, kind="stable")[:, :EXPECTED]
    return Activity(
        ids=ids,
        bits=-np.take_along_axis(before, ids[:, None], axis=1)[:, 0] / np.log(2),
        expected=expected,
        probabilities=np.exp(np.take_along_axis(before, expected, axis=1)),
        cells=np.concatenate(cells, axis=1)[:, len(start) :],
        gates=np.concatenate(gates, axis=2)[:, :, len(start) :],
    )


def _values(layer: LayerActivations) -> tuple[Array, Array]:
    """Of one stream: each cell's value (T, H), and each gate's mean openness (G, T)."""
    if isinstance(layer, LSTMActivations):
        return layer.tanh_c[:, 0].copy(), _openness(layer.gates, "lstm")
    if isinstance(layer, GRUActivations):
        return layer.h[1:, 0].copy(), _openness(layer.gates, "gru")
    return layer.h[1:, 0].copy(), np.empty((0, len(layer.h) - 1))


def _openness(blocks: Array, cell: str) -> Array:
    """The mean over the units of each gate (G, T), for the activated blocks (T, 1, N)."""
    by_block = blocks[:, 0].reshape(len(blocks), len(CELLS[cell].GATES), -1)
    mean: Array = by_block[:, : len(GATES[cell])].mean(axis=2, dtype=np.float64).T
    return mean


# -- features of a text -------------------------------------------------------------------------


def text_features(vocab: Vocab, ids: Ids) -> dict[str, Array]:
    """Features by name, (N,) each: what holds once each symbol is read."""
    if vocab.level == "byte":  # a byte that is no UTF-8 counts as one character
        text = np.asarray(ids, np.uint8).tobytes().decode("utf-8", "surrogateescape")
        sizes = [len(c.encode("utf-8", "surrogateescape")) for c in text]
        return {name: np.repeat(values, sizes) for name, values in features(text).items()}
    decoder = vocab.decoder()
    pieces = [decoder.feed(int(id_)) for id_ in ids]
    ends = np.cumsum([len(piece) for piece in pieces]) - 1
    return {name: values[ends] for name, values in features("".join(pieces)).items()}


def features(text: str) -> dict[str, Array]:
    """Features of a text by name, (N,) each, once each character is read."""
    characters = np.array(list(text))
    position, until_end, in_capitals, after_colon, indentation = _of_lines(text)
    return {
        "inside quotes": _inside(text, QUOTES),
        "line end": (characters == "\n").astype(float),
        "position in the line": position,
        "characters to the line end": until_end,
        "inside brackets": _inside(text, BRACKETS),
        "line in capitals so far": in_capitals,
        "line after a colon": after_colon,
        "capital letter": np.char.isupper(characters).astype(float),
        "indentation of the line": indentation,
    }


def _inside(text: str, pairs: Mapping[str, str]) -> Array:
    """1 from an opening mark up to its closing one, which is 0; an empty line closes all."""
    closing: list[str] = []
    inside = np.zeros(len(text))
    previous = ""
    for k, c in enumerate(text):
        if closing and c == closing[-1]:
            closing.pop()
        elif c in pairs:
            closing.append(pairs[c])
        elif c == previous == "\n":
            closing.clear()
        inside[k] = bool(closing)
        previous = c
    return inside


def _of_lines(text: str) -> Array:
    """(5, N): position in the line, characters to its end, whether all its letters so far are
    capitals, whether the line of words before it ends with a colon, and its indentation so far.

    A line end belongs to its line, and is the position 0 from which the next one counts.
    """
    found = []
    colon = False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        body = line.removesuffix("\n")
        margin = len(body) - len(body.lstrip(" \t"))
        first_capital = next((k for k, c in enumerate(body) if c.isupper()), len(line))
        first_small = next((k for k, c in enumerate(body) if c.islower()), len(line))
        k = np.arange(len(line))
        found.append(
            (
                np.where(k < len(body), k + 1, 0),
                len(body) - k,
                (first_capital <= k) & (k < first_small),
                np.full(len(line), colon),
                np.minimum(k + 1, margin),
            )
        )
        if body.strip():
            colon = body.rstrip().endswith(":")
    return np.concatenate([np.array(columns, float) for columns in found], axis=1)


# -- which cells follow them --------------------------------------------------------------------


def reactions(activity: Activity, feature: Array, count: int = 3) -> list[Reaction]:
    """The `count` cells whose values correlate most with a feature (N,), the strongest first.

    None where the feature is too rare in this text, or there almost always, to tell.
    """
    _, N, H = activity.cells.shape
    values, counts = np.unique(feature, return_counts=True)
    if len(values) < 2 or N - counts.max() < RAREST:
        return []
    correlations = correlate(activity.cells, feature).ravel()
    strongest = np.argsort(-np.abs(correlations), kind="stable")[:count]
    return [Reaction(int(k) // H, int(k) % H, float(correlations[k])) for k in strongest]


def correlate(cells: Array, feature: Array) -> Array:
    """Pearson's correlation of cells (L, N, H) with a feature (N,): (L, H), 0 for a constant."""
    centred = cells - cells.mean(axis=1, keepdims=True, dtype=np.float64)
    deviation = feature - feature.mean()
    spread = np.sqrt((centred**2).sum(axis=1) * (deviation**2).sum())
    along = np.einsum("lnh,n->lh", centred, deviation)
    correlation: Array = np.divide(along, spread, out=np.zeros_like(along), where=spread > 1e-9)
    return correlation
