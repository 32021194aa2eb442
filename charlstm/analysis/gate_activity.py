"""Gate activity: a model's cell values, and how far its gates are open, while it reads a text."""

from dataclasses import dataclass

import numpy as np

from charlstm.arrays import Array, Ids
from charlstm.errors import CharlstmError
from charlstm.network.layers import CELLS, LayerActivations
from charlstm.network.layers.gru import GRUActivations
from charlstm.network.layers.lstm import LSTMActivations
from charlstm.network.model import CharModel
from charlstm.network.predictions import Predictions, activations_of_windows, predictions_of
from charlstm.system.memory import require_memory
from charlstm.text.vocab import start_ids


@dataclass(frozen=True)
class Activity(Predictions):
    """The predictions and the activity of a model of L layers, H units and G gates on N symbols.

    cells: (L, N, H) the value of each cell after each symbol: tanh(c) of an LSTM, else h; -1 to 1.
    gates: (L, G, N, H) the openness of each gate of each unit while each symbol is read; 0 to 1.
    """

    cells: Array
    gates: Array


def gates_of(cell: str) -> dict[str, str]:
    """Return the names of a cell's gates by letter, without the candidate, which is no gate."""
    return {letter: name for letter, name in CELLS[cell].GATES.items() if name != "candidate"}


def measure_activity(model: CharModel, ids: Ids) -> Activity:
    """Measure the activity of a model that reads a text as if it followed a line end.

    A model of lines reads each line from a state of zeros, as in training.
    """
    if len(ids) == 0:
        raise CharlstmError("the text is empty: give a text of one symbol or more")
    numbers = 5 * len(ids) * model.config.layers * model.config.hidden
    require_memory(4 * numbers, f"a text of {len(ids):,} symbols", "give a smaller `length`")
    start = start_ids(model.vocab)
    sequence = np.concatenate((start, ids)).astype(np.intp)
    cells, gates, log_probs = [], [], []
    for activations in activations_of_windows(model, sequence):
        cells.append(np.stack([_cell_values(layer) for layer in activations.layers]))
        gates.append(
            np.stack([_openness(layer, model.config.cell) for layer in activations.layers])
        )
        log_probs.append(activations.log_probs)
    skipped = len(start)
    return Activity(
        **vars(predictions_of(np.concatenate(log_probs), sequence, skipped)),
        cells=np.concatenate(cells, axis=1)[:, skipped:],
        gates=np.concatenate(gates, axis=2)[:, :, skipped:],
    )


def _cell_values(layer: LayerActivations) -> Array:
    """Return the values of a layer's cells after each step, (T, H): tanh(c) of an LSTM, else h."""
    values = layer.tanh_c if isinstance(layer, LSTMActivations) else layer.h[1:]
    return np.array(values[:, 0])


def _openness(layer: LayerActivations, cell: str) -> Array:
    """Return the openness of each gate in each step of one stream, (G, T, H)."""
    T, H = len(layer.h) - 1, layer.h.shape[-1]
    if not isinstance(layer, LSTMActivations | GRUActivations):
        return np.empty((0, T, H))
    blocks = layer.gates[:, 0].reshape(T, len(CELLS[cell].GATES), H)
    is_gate = [letter in gates_of(cell) for letter in CELLS[cell].GATES]
    openness: Array = blocks[:, is_gate].swapaxes(0, 1)
    return openness
