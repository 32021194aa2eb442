"""A page that shows what a model does on a text: one HTML file that needs no network."""

import base64
import hashlib
import json
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.analysis.gates import GATES, Activity, reactions, text_features
from charlstm.arrays import Array
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.system.atomic_files import atomic_write
from charlstm.system.terminal import visible
from charlstm.text.vocab import Vocab

CELL_STEPS = 127  # a cell's value v, within -1..1, is kept as the whole number next to 127 v
THOUSANDTHS, TEN_THOUSANDTHS = 1_000, 10_000
# Inside <script>, these could end the element; what is not ASCII is escaped too, by json itself.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}
MARKS = {"\n": "↵", "\t": "⇥", "\r": "␍"}  # shown beside the white space itself
NAMES = {"\n": "↵ line end", "\t": "⇥ tab", "\r": "␍ carriage return", " ": "␣ space"}


def write_page(path: Path, model: CharModel, activity: Activity, run: str) -> int:
    """Write the page whole or not at all; return its size in bytes."""
    page = render(model, activity, run).encode()
    try:
        with atomic_write(path) as file:
            file.write(page)
    except (OSError, ValueError) as error:  # ValueError: a folder without a name, such as .
        told = getattr(error, "strerror", None) or error
        raise CharlstmError(f"{path}: cannot be written: {told}") from error
    return len(page)


def render(model: CharModel, activity: Activity, run: str) -> str:
    """The page, as HTML. All that comes from the text or the run is data to its script."""
    template = files(__package__).joinpath("page.html").read_text("utf-8")
    before, rest = template.split("<script>")
    script, after = rest.split("</script>", 1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = to_script_json(page_data(model, activity, run))
    before = before.replace("@SCRIPT@", f"'sha256-{digest}'").replace("@DATA@", data)
    return f"{before}<script>{script}</script>{after}"


def to_script_json(data: Any) -> str:
    """JSON that can stand inside a <script> element: no text in it can end that element."""
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)


def page_data(model: CharModel, activity: Activity, run: str) -> dict[str, Any]:
    """What the page's script reads; the numbers are whole ones, of the stated parts of 1."""
    used, numbers = np.unique(
        np.concatenate((activity.ids[:, None], activity.expected), axis=1), return_inverse=True
    )
    numbers = numbers.reshape(len(activity.ids), -1)
    known = np.isfinite(activity.bits)
    names = GATES[model.config.cell]
    return {
        "run": visible(run),
        "unit": model.vocab.unit,
        "cell": model.config.cell,
        "hidden": model.config.hidden,
        "symbols": [_shown(model.vocab.symbols[id_]) for id_ in used],
        "text": numbers[:, 0].tolist(),
        "spaced": _spaced(model.vocab, activity),
        # null where nothing came before that could predict
        "bits": [
            round(float(bits) * THOUSANDTHS) if ok else None
            for bits, ok in zip(activity.bits, known, strict=True)
        ],
        "expected": numbers[:, 1:].tolist(),
        "probabilities": _whole(np.nan_to_num(activity.probabilities), TEN_THOUSANDTHS),
        "gateNames": names,
        "gates": [
            dict(zip(names, _whole(layer, TEN_THOUSANDTHS), strict=True))
            for layer in activity.gates
        ],
        "cells": [[_base64(cell) for cell in layer.T] for layer in activity.cells],
        "reactions": _reactions(model.vocab, activity),
    }


def quantised(cell: Array) -> Array:
    """Values within -1..1 as int8: at most 1/254 off once divided by 127."""
    values: Array = np.rint(cell * CELL_STEPS).astype(np.int8)
    return values


def _base64(cell: Array) -> str:
    return base64.b64encode(quantised(cell).tobytes()).decode()


def _whole(values: Array, parts: int) -> list[Any]:
    """Numbers as whole parts of 1."""
    whole: list[Any] = np.rint(values * parts).astype(int).tolist()
    return whole


def _shown(symbol: str) -> tuple[str, str]:
    """A symbol within the text, and by itself."""
    if symbol in NAMES:
        return MARKS.get(symbol, "") + symbol.replace("\r", ""), NAMES[symbol]
    text = visible(symbol)
    return text, f"◌{text}" if unicodedata.combining(text[0]) else text


def _spaced(vocab: Vocab, activity: Activity) -> list[int]:
    """At level "word", whether a space stands before each word; otherwise nothing."""
    if vocab.level != "word":
        return []
    decoder = vocab.decoder()
    pieces = [decoder.feed(int(id_)) for id_ in activity.ids]
    symbols = [vocab.symbols[id_] for id_ in activity.ids]
    return [int(piece != symbol) for piece, symbol in zip(pieces, symbols, strict=True)]


def _reactions(vocab: Vocab, activity: Activity) -> list[dict[str, Any]]:
    """Of each feature that the text has: its name, how often it holds if it can, and the cells."""
    found = []
    for name, feature in text_features(vocab, activity.ids).items():
        cells = [[r.layer, r.unit, round(r.correlation, 3)] for r in reactions(activity, feature)]
        count = int(feature.sum()) if np.isin(feature, (0, 1)).all() else None
        if cells:
            found.append({"feature": name, "count": count, "cells": cells})
    return found
