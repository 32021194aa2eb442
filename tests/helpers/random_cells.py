"""Random inputs and weights for the textbook cells."""

from functools import partial

import numpy as np

from charlstm.network import textbook_cells
from charlstm.network.layers import CELLS

CELL_NAMES = ("lstm", "capped", "gru", "rnn")  # "capped": an LSTM with capped input gates


def functions(cell, form):
    """The forward and backward function of a cell: of a "_step", or of a sequence, ""."""
    if cell == "capped":
        forward, backward = functions("lstm", form)
        return partial(forward, capped=True), backward
    return tuple(getattr(textbook_cells, f"{cell}{form}_{way}") for way in ("forward", "backward"))


def make_cell(cell, N, T, D, H, dtype="float64", seed=0):
    """Inputs x (N, T, D), a state (N, H) and weights by name."""
    rng = np.random.default_rng(seed)
    columns = len(CELLS["lstm" if cell == "capped" else cell].GATES) * H

    def draw(*shape):
        return rng.normal(0, 0.6, shape).astype(dtype)

    weights = {"Wx": draw(D, columns), "Wh": draw(H, columns), "b": draw(columns)}
    if cell == "gru":
        weights["bn"] = draw(H)
    return draw(N, T, D), draw(N, H), weights
