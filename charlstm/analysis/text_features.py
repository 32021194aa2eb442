"""Features of a text, such as being inside quotes, and their correlation with units."""

import re
from collections.abc import Mapping

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.text.vocab import Vocab

# Single quotes are left out, because they may be apostrophes.
QUOTES = {'"': '"', "“": "”", "„": "“", "«": "»"}
BRACKETS = {"(": ")", "[": "]", "{": "}"}
# Units are compared with a feature only if the feature differs from its own most frequent value at
# this number of positions or more.
MIN_POSITIONS = 5


def text_features(vocab: Vocab, ids: Ids) -> dict[str, Array]:
    """Return the features of a text by name, each (N,): the values after each symbol is read."""
    if vocab.level == "byte":  # A byte that is not valid UTF-8 counts as one character.
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
    """Return for each character whether it is inside a pair of marks, as 1 or 0, (N,).

    The opening mark counts as inside, the closing mark does not. An empty line closes all marks.
    pairs: the closing mark of each opening mark.
    """
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

    The features are the position in the line; the number of characters to the line end; whether all
    letters of the line so far are capitals; whether the last non-blank line before this line ends
    with a colon; and the indentation of the line so far. A line end belongs to the line that it
    ends, but has position 0.
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


def varies(feature: Array) -> bool:
    """Return whether a feature (N,) differs from its own most frequent value often enough.

    Often enough means at MIN_POSITIONS positions or more.
    """
    _, counts = np.unique(feature, return_counts=True)
    return bool(len(feature) - counts.max() >= MIN_POSITIONS)


def correlate(cells: Array, feature: Array) -> Array:
    """Return Pearson's correlation (L, H) of cells (L, N, H) with a feature (N,).

    The correlation is 0 if the cell or the feature is constant.
    """
    centred = cells - cells.mean(axis=1, keepdims=True, dtype=np.float64)
    deviation = feature - feature.mean()
    spread = np.sqrt((centred**2).sum(axis=1) * (deviation**2).sum())
    covariance = np.einsum("lnh,n->lh", centred, deviation)
    correlation: Array = np.divide(
        covariance, spread, out=np.zeros_like(covariance), where=spread > 1e-9
    )
    return correlation
