"""The data of the page of gates (an HTML page), made from a model's activity on a text."""

import base64
from typing import Any

import numpy as np

from charlstm.analysis.gate_activity import Activity, gates_of
from charlstm.analysis.gates_page import (
    GATE_UNITS,
    VALUE_UNITS,
    FeatureReactions,
    GatesPage,
)
from charlstm.analysis.reactions import features_with_floors, reactions
from charlstm.arrays import Array
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.predictions import predictions_data
from charlstm.pages.text_data import FRACTION_UNITS, as_integers
from charlstm.system.terminal import visible

# In bytes. A large page is slow in a browser; browsers refuse texts of more than about 500 MB.
LARGE_PAGE, LARGEST_PAGE = 30_000_000, 250_000_000


def page_size(model: CharModel, length: int) -> int:
    """Return about how many bytes the page of a text of `length` symbols has."""
    config = model.config
    numbers = length * config.layers * config.hidden * (1 + len(gates_of(config.cell)))
    return numbers * 4 // 3  # base64 takes 4 bytes for 3


def require_small_page(model: CharModel, length: int) -> None:
    """Raise CharlstmError if the page of a text of `length` symbols is too large for browsers."""
    size = page_size(model, length)
    if size > LARGEST_PAGE:
        raise CharlstmError(
            f"a page of {length:,} symbols would have {size / 1e6:,.0f} MB, too many for a "
            f"browser: give `length={length * LARGEST_PAGE // size}` or less"
        )


def gate_figures(model: CharModel, activity: Activity, run: str) -> dict[str, Any]:
    """Return figures of the page of gates for JSON. Layers and units are counted from 1.

    The openness of a gate is the mean over the symbols and the units of a layer.
    """
    predicted = activity.bits[~np.isnan(activity.bits)]
    return {
        "run": run,
        "cell": model.config.cell,
        "symbols": len(activity.ids),
        "bits_per_symbol": float(predicted.mean()) if predicted.size else None,
        "openness": [
            dict(zip(gates_of(model.config.cell).values(), means.tolist(), strict=True))
            for means in activity.gates.mean((2, 3), np.float64)
        ],
        "features": [
            {
                **feature,
                "units": [
                    dict(zip(("layer", "unit", "correlation"), unit, strict=True))
                    for unit in feature["units"]
                ],
            }
            for feature in _reactions(model, activity)
        ],
    }


def gates_page_data(model: CharModel, activity: Activity, run: str) -> GatesPage:
    """Return the data of the page of gates. run: the name of the run, such as its folder."""
    gates = gates_of(model.config.cell)
    return {
        "run": visible(run),
        "cell": model.config.cell,
        "hidden": model.config.hidden,
        "capped": model.config.capped,
        "text": predictions_data(model.vocab, activity),
        "gate_names": gates,
        "gates": [
            dict(zip(gates, as_integers(layer.mean(2, np.float64), FRACTION_UNITS), strict=True))
            for layer in activity.gates
        ],
        "units": [
            [_base64(values[:, k], gates[:, :, k]) for k in range(model.config.hidden)]
            for values, gates in zip(activity.cells, activity.gates, strict=True)
        ],
        "reactions": _reactions(model, activity),
    }


def _base64(values: Array, gates: Array) -> str:
    """Return the values (N,) and the gates (G, N) of a unit in base64, as GatesPage says."""
    numbers = np.rint(values * VALUE_UNITS).astype(np.int8).tobytes()
    return base64.b64encode(
        numbers + np.rint(gates * GATE_UNITS).astype(np.uint8).tobytes()
    ).decode()


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
