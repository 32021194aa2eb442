"""The page of gates: one HTML file that needs no network, made from plain data.

This module knows nothing of models: page.html has a script that draws the data.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import atomic_write

# Numbers are stored as integers of these fractions: 1/1000 bit, 1/127 of a cell's largest value,
# 1/10,000 of a probability or of a gate's openness.
BITS_UNITS, CELL_UNITS, FRACTION_UNITS = 1_000, 127, 10_000
# Characters that could end a <script> element; json escapes all that are not ASCII.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


class FeatureReactions(TypedDict):
    """The cells that follow a feature of the text.

    count: the number of symbols that have the feature; None for a number such as a position.
    cells: the layer, the unit and the correlation of each cell, the strongest first.
    """

    feature: str
    count: int | None
    cells: list[tuple[int, int, float]]


class GatesPage(TypedDict):
    """The data of a page: what a model of L layers and H units does on a text of N symbols.

    run: the title. unit: "character", "byte" or "word". cell: "lstm", "gru" or "rnn". hidden: H.
    symbols: each distinct symbol, as it is shown within the text and by itself.
    text: (N,) the index of each symbol in `symbols`.
    spaced: (N,) 1 where a space precedes a word; empty for characters and bytes.
    bits: (N,) the surprisal in 1/1000 bits; None for a first symbol that nothing precedes.
    expected: (N, K) the indices of the likeliest symbols before each symbol is read.
    probabilities: (N, K) of these, in 1/10,000.
    gate_names: the name of each gate by its letter.
    gates: for each layer and the letter of each gate, its openness (N,) in 1/10,000.
    cells: (L, H) the values of each cell, N numbers of type int8 in 1/127, in base64.
    reactions: the features of the text with the cells that follow them.
    """

    run: str
    unit: str
    cell: str
    hidden: int
    symbols: list[tuple[str, str]]
    text: list[int]
    spaced: list[int]
    bits: list[int | None]
    expected: list[list[int]]
    probabilities: list[list[int]]
    gate_names: dict[str, str]
    gates: list[dict[str, list[int]]]
    cells: list[list[str]]
    reactions: list[FeatureReactions]


def write_page(path: Path, data: GatesPage) -> int:
    """Write the page to a file, replaced atomically; return its size in bytes."""
    page = render(data).encode()
    try:
        with atomic_write(path) as file:
            file.write(page)
    except (OSError, ValueError) as error:  # ValueError: a path without a file name, such as "."
        reason = getattr(error, "strerror", None) or error
        raise CharlstmError(f"{path}: cannot be written: {reason}") from error
    return len(page)


def render(data: GatesPage) -> str:
    """Return the page as HTML. Nothing in the data can become markup or script of the page."""
    template = files(__package__).joinpath("page.html").read_text("utf-8")
    before, rest = template.split("<script>")
    script, after = rest.split("</script>", 1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    before = before.replace("@SCRIPT@", f"'sha256-{digest}'")
    before = before.replace("@DATA@", to_script_json(data))
    return f"{before}<script>{script}</script>{after}"


def to_script_json(data: Any) -> str:
    """Return JSON that can stand inside a <script> element: no text in it can end the element."""
    return json.dumps(data, separators=(",", ":")).translate(ESCAPES)
