"""The data of the page of gates (an HTML page), made from a model's activity on a text."""

import base64
import unicodedata
from typing import Any

import numpy as np

from charlstm.analysis.gate_activity import Activity, gates_of
from charlstm.analysis.gates_page import (
    BITS_UNITS,
    CELL_UNITS,
    FRACTION_UNITS,
    FeatureReactions,
    GatesPage,
)
from charlstm.analysis.text_features import reactions, text_features
from charlstm.arrays import Array
from charlstm.network.model import CharModel
from charlstm.system.terminal import visible
from charlstm.text.vocab import Vocab

MARKS = {"\n": "↵", "\t": "⇥", "\r": "␍"}  # visible signs for white space in the text
NAMES = {"\n": "↵ line end", "\t": "⇥ tab", "\r": "␍ carriage return", " ": "␣ space"}


def gates_page_data(model: CharModel, activity: Activity, run: str) -> GatesPage:
    """Return the data of the page of gates. run: its title, such as the folder of a run."""
    used, numbers = np.unique(
        np.concatenate((activity.ids[:, None], activity.expected), axis=1), return_inverse=True
    )
    numbers = numbers.reshape(len(activity.ids), -1)
    gates = gates_of(model.config.cell)
    return {
        "run": visible(run),
        "unit": model.vocab.unit,
        "cell": model.config.cell,
        "hidden": model.config.hidden,
        "symbols": [_shown(model.vocab.symbols[id_]) for id_ in used],
        "text": numbers[:, 0].tolist(),
        "spaced": _spaced(model.vocab, activity),
        "bits": [
            round(float(bits) * BITS_UNITS) if np.isfinite(bits) else None for bits in activity.bits
        ],
        "expected": numbers[:, 1:].tolist(),
        "probabilities": _integers(np.nan_to_num(activity.probabilities), FRACTION_UNITS),
        "gate_names": gates,
        "gates": [
            dict(zip(gates, _integers(layer, FRACTION_UNITS), strict=True))
            for layer in activity.gates
        ],
        "cells": [[_base64(cell) for cell in layer.T] for layer in activity.cells],
        "reactions": _reactions(model.vocab, activity),
    }


def _integers(values: Array, units: int) -> list[Any]:
    """Return values * units, rounded to integers, as nested lists."""
    rounded: list[Any] = np.rint(values * units).astype(int).tolist()
    return rounded


def _base64(cell: Array) -> str:
    """Return the values of a cell, -1 to 1, as int8 in base64."""
    return base64.b64encode(np.rint(cell * CELL_UNITS).astype(np.int8).tobytes()).decode()


def _shown(symbol: str) -> tuple[str, str]:
    """Return how a symbol is shown within the text, and how it is shown on its own."""
    if symbol in NAMES:
        return MARKS.get(symbol, "") + symbol.replace("\r", ""), NAMES[symbol]
    text = visible(symbol)
    return text, f"◌{text}" if unicodedata.combining(text[0]) else text


def _spaced(vocab: Vocab, activity: Activity) -> list[int]:
    """Return 1 for each word after a space, else 0; an empty list for characters and bytes."""
    if vocab.level != "word":
        return []
    decoder = vocab.decoder()
    return [int(decoder.feed(int(id_)) != vocab.symbols[id_]) for id_ in activity.ids]


def _reactions(vocab: Vocab, activity: Activity) -> list[FeatureReactions]:
    """Return, for each feature that varies in the text, the cells that correlate most with it."""
    found: list[FeatureReactions] = []
    for name, feature in text_features(vocab, activity.ids).items():
        strongest = reactions(activity.cells, feature)
        cells = [(r.layer, r.unit, round(r.correlation, 3)) for r in strongest]
        count = int(feature.sum()) if np.isin(feature, (0, 1)).all() else None
        if cells:
            found.append({"feature": name, "count": count, "cells": cells})
    return found
