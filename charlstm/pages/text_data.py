"""The data of a text by surprisal, the component that text.js shows."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.system.terminal import visible

# Pages store numbers as integers: bits in units of 1/1000, and probabilities in units of 1/10,000.
BITS_UNITS, FRACTION_UNITS = 1_000, 10_000
MARKS = {"\n": "↵", "\t": "⇥", "\r": "␍"}  # visible signs for white space in the text
NAMES = {"\n": "↵ line end", "\t": "⇥ tab", "\r": "␍ carriage return", " ": "␣ space"}


def text_data(
    unit: str,
    vocabulary: Sequence[str],
    ids: Ids,
    bits: Array,
    expected: Ids,
    probabilities: Array,
    spaced: Sequence[int] = (),
) -> dict[str, Any]:
    """Return a text of N symbols for a page.

    unit: "character", "byte" or "word". vocabulary: the symbols, by id.
    ids, bits (N,), expected, probabilities (N, K): as in network/predictions.py; K may be 0.
    spaced: 1 for each word after a space, else 0; empty for characters and bytes.

    The result has `unit`, `spaced`, `bits` (None where a symbol is not predicted), `probabilities`
    (both in the units above), and:

    symbols: the form of each distinct symbol within the text, and its form on its own.
    text: (N,) the index of each symbol in `symbols`.
    expected: (N, K) the indices of the K symbols that are most probable at each position.
    """
    used, numbers = np.unique(np.concatenate((ids[:, None], expected), axis=1), return_inverse=True)
    numbers = numbers.reshape(len(ids), -1)
    return {
        "unit": unit,
        "symbols": [shown_symbol(vocabulary[id_]) for id_ in used],
        "text": numbers[:, 0].tolist(),
        "spaced": list(spaced),
        "bits": [round(float(each) * BITS_UNITS) if np.isfinite(each) else None for each in bits],
        "expected": numbers[:, 1:].tolist(),
        "probabilities": as_integers(np.nan_to_num(probabilities), FRACTION_UNITS),
    }


def as_integers(values: Array, units: int) -> list[Any]:
    """Return values * units, rounded to integers, as nested lists."""
    rounded: list[Any] = np.rint(values * units).astype(int).tolist()
    return rounded


def shown_symbol(symbol: str) -> tuple[str, str]:
    """Return how a page shows a symbol within a text, and how it shows the symbol on its own."""
    if symbol in NAMES:
        return MARKS.get(symbol, "") + symbol.replace("\r", ""), NAMES[symbol]
    text = visible(symbol)
    return text, f"◌{text}" if unicodedata.category(text[0]).startswith("M") else text
