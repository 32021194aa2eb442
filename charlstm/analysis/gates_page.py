"""The page of gates: one HTML file that shows the activity of a model and needs no internet access.

The page is gates_page.html with its own style and script. The module gates_page_data makes the data
of the page from a model.
"""

from typing import Any, TypedDict

from charlstm.pages import page

# The page stores numbers as integers: values of units in units of 1/127, gates of units in units of
# 1/255, and means of gates in units of 1/10,000.
VALUE_UNITS, GATE_UNITS = 127, 255


class FeatureReactions(TypedDict):
    """The units whose values correlate most with a feature of the text, and more than noise does.

    count: the number of symbols that have the feature, such as being inside quotes; None for a
        feature with numeric values, such as the position in the line.
    floor: the strongest correlation that noise has with the feature.
    units: (layer, unit, correlation) of each unit, the strongest correlation first; layers and
        units are counted from 1. The list is empty if no unit is above the floor.
    """

    feature: str
    count: int | None
    floor: float
    units: list[tuple[int, int, float]]


class GatesPage(TypedDict):
    """The data of a page: the activity of a model of L layers and H units on a text of N symbols.

    run: the name of the run. cell: "lstm", "gru" or "rnn". hidden: H.
    capped: whether the input gates are capped: min(i, 1 - f).
    text: the text with its surprisal, the result of text_data in pages/text_data.py.
    gate_names: the name of each gate by its letter.
    gates: for each layer, the mean openness (N,) of each gate in 1/10,000, by the gate's letter.
    units: (L, H) a base64 string for each unit: its N values as int8 in units of 1/127, then the
        openness of each of its gates, N each as uint8 in units of 1/255.
    reactions: the units that correlate with each feature of the text.
    """

    run: str
    cell: str
    hidden: int
    capped: bool
    text: dict[str, Any]
    gate_names: dict[str, str]
    gates: list[dict[str, list[int]]]
    units: list[list[str]]
    reactions: list[FeatureReactions]


def render(data: GatesPage) -> str:
    """Return the page as HTML."""
    return page.render(__package__, "gates_page", data, ("text",))
