"""Features of a text, such as being inside quotes, and the cells of a model that follow them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.text.vocab import Vocab

QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»"}  # no single ones, which may be apostrophes
BRACKETS = {"(": ")", "[": "]", "{": "}"}
MIN_POSITIONS = 5  # with a feature, and without it, for cells to be compared with it


@dataclass(frozen=True)
class Reaction:
    """A cell whose value correlates with a feature of the text.

    correlation: Pearson's; the point-biserial correlation for a feature of 0 and 1.
    """

    layer: int
    unit: int
    correlation: float


def text_features(vocab: Vocab, ids: Ids) -> dict[str, Array]:
    """Return the features of a text by name, each (N,): their values once a symbol is read."""
    if vocab.level == "byte":  # a byte that is not valid UTF-8 counts as one character
        text = np.asarray(ids, np.uint8).tobytes().decode("utf-8", "surrogateescape")
        sizes = [len(c.encode("utf-8", "surrogateescape")) for c in text]
        return {name: np.repeat(values, sizes) for name, values in features(text).items()}
    decoder = vocab.decoder()
    decoded = [decoder.feed(int(id_)) for id_ in ids]
    ends = np.cumsum([len(text) for text in decoded]) - 1
    return {name: values[ends] for name, values in features("".join(decoded)).items()}


def features(text: str) -> dict[str, Array]:
    """Return the features of a text of N characters by name, each (N,)."""
    characters = np.array(list(text))
    position, until_end, in_capitals, after_colon, indentation = _line_features(text)
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
    """Return 1 from an opening mark until before its closing one; an empty line closes all."""
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


def _line_features(text: str) -> Array:
    """Return five features of lines, (5, N).

    They are the position in the line, the characters to its end, whether all its letters so far are
    capitals, whether the last line of words before it ends with a colon, and its indentation so
    far. A line end belongs to its line; it has position 0, from which the next line counts.
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


def reactions(cells: Array, feature: Array, count: int = 3) -> list[Reaction]:
    """Return the cells, of (L, N, H), that correlate most with a feature (N,), strongest first.

    There are none if the feature has nearly always the same value in this text.
    """
    _, N, H = cells.shape
    values, counts = np.unique(feature, return_counts=True)
    if len(values) < 2 or N - counts.max() < MIN_POSITIONS:
        return []
    correlations = correlate(cells, feature).ravel()
    strongest = np.argsort(-np.abs(correlations), kind="stable")[:count]
    return [Reaction(int(k) // H, int(k) % H, float(correlations[k])) for k in strongest]


def correlate(cells: Array, feature: Array) -> Array:
    """Return Pearson's correlation (L, H) of cells (L, N, H) with a feature (N,); 0 if constant."""
    centred = cells - cells.mean(axis=1, keepdims=True, dtype=np.float64)
    deviation = feature - feature.mean()
    spread = np.sqrt((centred**2).sum(axis=1) * (deviation**2).sum())
    covariance = np.einsum("lnh,n->lh", centred, deviation)
    correlation: Array = np.divide(
        covariance, spread, out=np.zeros_like(covariance), where=spread > 1e-9
    )
    return correlation
