"""The data of the page of gates (an HTML page), made from a model's activity on a text."""

import base64
import unicodedata
from typing import Any

import numpy as np

from charlstm.analysis.gate_activity import Activity, gates_of
from charlstm.analysis.gates_page import (
    BITS_UNITS,
    FRACTION_UNITS,
    GATE_UNITS,
    VALUE_UNITS,
    FeatureReactions,
    GatesPage,
)
from charlstm.analysis.reactions import features_with_floors, reactions
from charlstm.arrays import Array
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.system.terminal import visible
from charlstm.text.vocab import Vocab

LARGEST_PAGE = 250_000_000  # bytes; browsers refuse texts of more than about 500 MB
MARKS = {"\n": "↵", "\t": "⇥", "\r": "␍"}  # visible signs for white space in the text
NAMES = {"\n": "↵ line end", "\t": "⇥ tab", "\r": "␍ carriage return", " ": "␣ space"}


def require_small_page(model: CharModel, length: int) -> None:
    """Raise CharlstmError if the page of a text of `length` symbols is too large for browsers."""
    config = model.config
    numbers = length * config.layers * config.hidden * (1 + len(gates_of(config.cell)))
    if numbers * 4 / 3 > LARGEST_PAGE:  # base64 takes 4 bytes for 3
        fits = int(length * LARGEST_PAGE / (numbers * 4 / 3))
        raise CharlstmError(
            f"a page of {length:,} symbols would have {numbers * 4 / 3e6:,.0f} MB, too many for a "
            f"browser: give `length={fits}` or less"
        )


def gates_page_data(model: CharModel, activity: Activity, run: str) -> GatesPage:
    """Return the data of the page of gates. run: the name of the run, such as its folder."""
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
        "capped": model.config.capped,
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
            dict(zip(gates, _integers(layer.mean(2, np.float64), FRACTION_UNITS), strict=True))
            for layer in activity.gates
        ],
        "units": [
            [_base64(values[:, k], gates[:, :, k]) for k in range(model.config.hidden)]
            for values, gates in zip(activity.cells, activity.gates, strict=True)
        ],
        "reactions": _reactions(model, activity),
    }


def _integers(values: Array, units: int) -> list[Any]:
    """Return values * units, rounded to integers, as nested lists."""
    rounded: list[Any] = np.rint(values * units).astype(int).tolist()
    return rounded


def _base64(values: Array, gates: Array) -> str:
    """Return the values (N,) and the gates (G, N) of a unit in base64, as GatesPage says."""
    numbers = np.rint(values * VALUE_UNITS).astype(np.int8).tobytes()
    return base64.b64encode(
        numbers + np.rint(gates * GATE_UNITS).astype(np.uint8).tobytes()
    ).decode()


def _shown(symbol: str) -> tuple[str, str]:
    """Return how a symbol is shown within the text, and how it is shown on its own."""
    if symbol in NAMES:
        return MARKS.get(symbol, "") + symbol.replace("\r", ""), NAMES[symbol]
    text = visible(symbol)
    return text, f"◌{text}" if unicodedata.category(text[0]).startswith("M") else text


def _spaced(vocab: Vocab, activity: Activity) -> list[int]:
    """Return 1 for each word after a space, else 0; an empty list for characters and bytes."""
    if vocab.level != "word":
        return []
    decoder = vocab.decoder()
    return [int(decoder.feed(int(id_)) != vocab.symbols[id_]) for id_ in activity.ids]


def _reactions(model: CharModel, activity: Activity) -> list[FeatureReactions]:
    """Return each feature that varies in the text, and the units that correlate with it most."""
    found: list[FeatureReactions] = []
    for name, feature, floor in features_with_floors(model, activity):
        strongest = reactions(activity.cells, feature, floor)
        found.append(
            {
                "feature": name,
                "count": int(feature.sum()) if np.isin(feature, (0, 1)).all() else None,
                "floor": round(floor, 3),
                "units": [(r.layer, r.unit, round(r.correlation, 3)) for r in strongest],
            }
        )
    return sorted(found, key=lambda feature: not feature["units"])  # with units first
