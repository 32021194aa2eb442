"""Inputs and weights for the textbook cells, at random."""

from functools import partial

import numpy as np

from charlstm.network import textbook_cells

GATES = {"lstm": 4, "capped": 4, "gru": 3, "rnn": 1}


def functions(cell, form):
    """Forward and backward of a cell, of a step or of a sequence."""
    if cell == "capped":
        forward, backward = functions("lstm", form)
        return partial(forward, capped=True), backward
    return tuple(getattr(textbook_cells, f"{cell}{form}_{way}") for way in ("forward", "backward"))


def make_cell(cell, N, T, D, H, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    G = GATES[cell] * H

    def draw(*shape):
        return rng.normal(0, 0.6, shape).astype(dtype)

    weights = {"Wx": draw(D, G), "Wh": draw(H, G), "b": draw(G)}
    if cell == "gru":
        weights["bn"] = draw(H)
    return draw(N, T, D), draw(N, H), weights
