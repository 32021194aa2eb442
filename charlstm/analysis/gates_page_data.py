"""The data of the page of gates (an HTML page), made from a model's activity on a text."""

import base64

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

LARGEST_PAGE = 250_000_000  # bytes; browsers refuse texts of more than about 500 MB


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
