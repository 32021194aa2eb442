"""The page of gates: one HTML file that shows the activity of a model and needs no internet access.

This module puts the data of the page into the template page.html, whose script draws them. The
module gates_page_data makes the data from a model.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from charlstm.errors import CharlstmError
from charlstm.system.atomic_files import atomic_write

# The page stores numbers as integers: bits in units of 1/1000, values of cells in units of 1/127,
# and probabilities and the openness of gates in units of 1/10,000.
BITS_UNITS, CELL_UNITS, FRACTION_UNITS = 1_000, 127, 10_000
# Escapes of the ASCII characters that could end a <script> element. The json module already escapes
# all characters outside of ASCII.
ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&"}


class FeatureReactions(TypedDict):
    """The cells whose values correlate most with a feature of the text.

    count: the number of symbols that have the feature, such as being inside quotes; None for a
        feature with numeric values, such as the position in the line.
    cells: (layer, unit, correlation) of each cell, the strongest correlation first.
    """

    feature: str
    count: int | None
    cells: list[tuple[int, int, float]]


class GatesPage(TypedDict):
    """The data of a page: the activity of a model of L layers and H units on a text of N symbols.

    run: the title. unit: "character", "byte" or "word". cell: "lstm", "gru" or "rnn". hidden: H.
    symbols: how each distinct symbol is shown: (within the text, on its own).
    text: (N,) the index of each symbol in `symbols`.
    spaced: (N,) 1 if a space precedes the word; empty for characters and bytes.
    bits: (N,) the surprisal of each symbol in 1/1000 bits; None for the first symbol if it is not
        predicted.
    expected: (N, K) the indices of the K symbols that are most probable at each position.
    probabilities: (N, K) the probabilities of the expected symbols, in 1/10,000.
    gate_names: the name of each gate by its letter.
    gates: for each layer, the openness (N,) of each gate in 1/10,000, by the gate's letter.
    cells: (L, H) a base64 string for each cell: its N values as int8 in units of 1/127.
    reactions: the cells that correlate with each feature of the text.
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
    """Write the page to a file atomically; return the size of the page in bytes."""
    page = render(data).encode()
    try:
        with atomic_write(path) as file:
            file.write(page)
    except (OSError, ValueError) as error:  # ValueError: the path has no file name, as "."
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
