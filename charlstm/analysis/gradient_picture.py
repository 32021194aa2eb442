"""A picture of gradient flow: the norms of gradients by their lag, drawn with matplotlib.

A line of the picture is the median over streams of text, and the band around the line holds the
middle half of the streams. Lines and bands are smoothed, because the norm in a trained model
depends on the symbols at each step.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from charlstm.analysis.gradient_flow import GONE_FRACTION, GradientFlow
from charlstm.arrays import Array
from charlstm.errors import ArgumentError, CharlstmError
from charlstm.system.atomic_files import atomic_write

COLOURS = {
    "rnn": ("#e8853a", "#c2432d", "#7a1414", "#b08900"),
    "gru": ("#7d4fa8", "#b58fd6"),
    "lstm": ("#6fb7e0", "#2b7bba", "#0b3a70", "#0f9b86"),
}
DASHES: dict[str, Any] = {"rnn": (0, (5, 2)), "gru": (0, (7, 2, 1.5, 2)), "lstm": "-"}
# Limits of the vertical axis. Norms outside these limits are not shown, because a wider range would
# flatten the curves.
LOWEST_SHOWN, HIGHEST_SHOWN = 1e-9, 1e6
SMOOTHED_RATIO = 1.25  # at lag k, lags from k / SMOOTHED_RATIO to k * SMOOTHED_RATIO are averaged
SMALLEST = 1e-300  # this number replaces a norm of 0, which has no logarithm


def require_drawable(path: Path) -> None:
    """Raise CharlstmError, before anything is measured, if `draw` cannot draw into this file."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise ArgumentError(f"{path}: the name of a picture must end in .svg or .png")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise CharlstmError("drawing needs matplotlib: pip install 'charlstm[inspect]'") from None


def draw(flows: Sequence[GradientFlow], path: Path) -> None:
    """Draw the norms, as fractions of those at lag 1, into an .svg or .png file."""
    require_drawable(path)
    figure = _figure(flows)
    try:
        with atomic_write(path) as file:
            # The entry Creator marks pictures of charlstm: see system/output_files.py.
            form, about = path.suffix[1:].lower(), {"Creator": "charlstm"}
            figure.savefig(file, format=form, dpi=150, metadata=about)
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be written: {error.strerror}") from error


def _figure(flows: Sequence[GradientFlow]) -> Any:
    """Return a figure with a panel for the hidden state and, for LSTMs, one for the cell state."""
    from matplotlib.figure import Figure

    panels = {"dh": r"Hidden state: $\|\partial L_t/\partial h_{t-k}\|$"}
    if any("dc" in flow.norms for flow in flows):
        panels["dc"] = r"Cell state: $\|\partial L_t/\partial c_{t-k}\|$"
    figure = Figure(figsize=(5.6 * len(panels) + 0.4, 5.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    panel_of = dict(zip(panels, axes, strict=True))
    lags = np.arange(1, len(flows[0].norms["dh"]) + 1)
    colours = {cell: cycle(shades) for cell, shades in COLOURS.items()}
    for flow in flows:
        colour = next(colours[flow.cell])
        for name in flow.streams:
            label, style = flow.label, DASHES[flow.cell]
            if name == "forget":
                label, style = f"{label}: product of f", ":"
            panel = panel_of.get(name, axes[-1])
            low, median, high = smoothed_spread(flow.streams[name])
            panel.plot(lags, median, c=colour, ls=style, lw=1.8, label=label)
            panel.fill_between(lags, low, high, color=colour, alpha=0.18, lw=0)
    for panel, title in zip(axes, panels.values(), strict=True):
        panel.set_title(title, fontsize=12)
        panel.set(xscale="log", yscale="log", xlim=(1, lags[-1]), xlabel="lag k, in time steps")
        panel.xaxis.set_major_formatter("{x:g}")
        panel.axhline(GONE_FRACTION, color="0.45", linewidth=0.8)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(fontsize=8.5, loc="lower left", framealpha=0.9)
    low, high = axes[0].get_ylim()
    axes[0].set_ylim(max(low, LOWEST_SHOWN), min(high, HIGHEST_SHOWN))
    axes[0].set_ylabel("norm, as a fraction of that at lag 1")
    places = flows[0].streams["dh"].shape[1]
    figure.supxlabel(
        f"line: median of {places} places in the text; band: the middle half of them; "
        "both averaged over neighbouring lags",
        fontsize=8.5,
        color="0.35",
    )
    axes[0].annotate("gone: 1/1000", (1.05, GONE_FRACTION), va="bottom", fontsize=8.5, color="0.35")
    return figure


def smoothed_spread(streams: Array) -> Array:
    """Return the quartiles of norms (lags, B) over the streams: lower, median and upper, (3, lags).

    The norms of a stream are fractions of its norm at lag 1. The quartiles are smoothed: a value
    becomes the geometric mean of the values at neighbouring lags, as SMOOTHED_RATIO says.
    """
    relative = streams / np.maximum(streams[0], SMALLEST)
    return np.stack([_smoothed(row) for row in np.percentile(relative, (25, 50, 75), axis=1)])


def _smoothed(values: Array) -> Array:
    """Return the geometric means of values (lags,) over neighbouring lags."""
    k = np.arange(1, len(values) + 1)
    reach = np.floor(k * SMOOTHED_RATIO).astype(int) - k  # the same number of lags on both sides
    reach = np.minimum(reach, len(values) - k)
    sums = np.concatenate(([0.0], np.cumsum(np.log(np.maximum(values, SMALLEST)))))
    smoothed: Array = np.exp((sums[k + reach] - sums[k - reach - 1]) / (2 * reach + 1))
    return smoothed
