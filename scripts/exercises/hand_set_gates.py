"""Shows an LSTM cell whose weights are set by hand (from the lectures of Hung-yi Lee).

    .venv/bin/python scripts/exercises/hand_set_gates.py

The inputs are x1, x2, x3 and a constant 1, whose weights serve as biases. If x2 is 1, the cell adds
x1 to its memory; if x2 is -1, it empties the memory; if x3 is 1, it outputs the memory. There are
no recurrent weights. The cell of the lecture has a linear candidate and a linear output; PyTorch's
cell has a tanh in both.
"""

import numpy as np

from charlstm import ModelConfig
from charlstm.network.layers import CELLS
from charlstm.network.textbook_cells import lstm_step_forward, sigmoid

VALUES = [(1, 0, 0), (3, 1, 0), (2, 0, 0), (4, 1, 0), (2, 0, 0)]
VALUES += [(1, 0, 1), (3, -1, 0), (6, 1, 0), (1, 0, 1)]
INPUTS = np.array([(*values, 1) for values in VALUES], np.float64)  # (T, D)

CANDIDATE = (1, 0, 0, 0)
INPUT_GATE = (0, 100, 0, -10)  # The input gate is open if x2 is 1.
FORGET_GATE = (0, 100, 0, 10)  # The forget gate is closed, and empties the memory, if x2 is -1.
OUTPUT_GATE = (0, 0, 100, -10)  # The output gate is open if x3 is 1.

# A published solution in PyTorch has these rows in weight_ih: first (0, 100, 0, 10), the weights of
# the forget gate, then (0, 100, 0, -10), the weights of the input gate. But PyTorch reads the rows
# in the order i f g o: input, forget, candidate, output.
PUBLISHED = {"i": FORGET_GATE, "f": INPUT_GATE, "g": CANDIDATE, "o": OUTPUT_GATE}
EXCHANGED = {"i": INPUT_GATE, "f": FORGET_GATE, "g": CANDIDATE, "o": OUTPUT_GATE}


def linear_cell():
    """Return the memory before each step (T,) and the outputs (T,) of the cell without tanh."""
    memory, before, outputs = 0.0, [], []
    for x in INPUTS:
        before.append(memory)
        i, f, o = (sigmoid(x @ np.array(w)) for w in (INPUT_GATE, FORGET_GATE, OUTPUT_GATE))
        memory = f * memory + i * (x @ np.array(CANDIDATE))
        outputs.append(o * memory)
    return np.array(before), np.array(outputs)


def weights(rows):
    """Return the weights of one hidden unit: Wx (4, 4) in the order i f o g, Wh (1, 4) and b (4).

    Wh and b are zero. rows: the weights of each gate by its letter.
    """
    Wx = np.array([rows[gate] for gate in "ifog"], np.float64).T.copy()
    return Wx, np.zeros((1, 4)), np.zeros(4)


def step_by_step(rows):
    """Return the outputs (T,) of textbook_cells.lstm_step_forward."""
    h = c = np.zeros((1, 1))
    outputs = []
    for x in INPUTS:
        h, c, _ = lstm_step_forward(x[None], h, c, *weights(rows))
        outputs.append(h[0, 0])
    return np.array(outputs)


def layer(rows):
    """Return the outputs (T,) of the LSTM layer that charlstm trains."""
    lstm = CELLS["lstm"]
    config = ModelConfig(hidden=1, dtype="float64")
    activations = lstm.new_activations(config, len(INPUTS), 1)
    parameters = dict(zip(("Wx", "Wh", "b"), weights(rows), strict=True))
    lstm.forward(parameters, INPUTS[:, None], np.zeros((2, 1, 1)), activations)
    return activations.h[1:, 0, 0]


def pytorch(rows):
    """Return the outputs (T,) of nn.LSTMCell and those of nn.LSTM."""
    import torch

    x = torch.from_numpy(INPUTS)
    cell = torch.nn.LSTMCell(4, 1, bias=False, dtype=torch.float64)
    layer = torch.nn.LSTM(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        rows_ifgo = torch.tensor([rows[gate] for gate in "ifgo"], dtype=torch.float64)
        for weight in (cell.weight_ih, layer.weight_ih_l0):
            weight.copy_(rows_ifgo)
        for weight in (cell.weight_hh, layer.weight_hh_l0):
            weight.zero_()
        state, outputs = None, []
        for row in x:
            state = cell(row[None], state)
            outputs.append(float(state[0]))
        return np.array(outputs), layer(x)[0][:, 0].numpy()


def print_row(name, values):
    """Print a name and the values of all steps in one line."""
    print(f"  {name:26}" + "".join(f"{value:8.3f}" for value in values))


def main():
    """Print the outputs of the linear cell, and of cells with tanh for both orders of rows."""
    print("Linear candidate and output:")
    for k in range(3):
        print_row(f"x{k + 1}", INPUTS[:, k])
    memory, outputs = linear_cell()
    print_row("memory before the step", memory)
    print_row("output", outputs)
    for title, rows in (
        ("With tanh, and the rows as published, read in PyTorch's order i f g o:", PUBLISHED),
        ("With tanh, and the rows of input and forget gate exchanged:", EXCHANGED),
    ):
        print(title)
        print_row("lstm_step_forward", step_by_step(rows))
        print_row("layer of charlstm", layer(rows))
        try:
            for name, values in zip(("nn.LSTMCell", "nn.LSTM"), pytorch(rows), strict=True):
                print_row(name, values)
        except ImportError:
            print("  (PyTorch is not installed)")
    print(
        "With the published rows, the forget gate has the weights that are meant for the input\n"
        "gate. It closes at each step where x2 is not 1, so that nothing is kept. The input gate\n"
        "is open unless x2 is -1: the outputs are tanh(tanh(1)), as x1 of the same step is 1.\n"
        "With the rows exchanged, the first output is tanh(tanh(3) + tanh(4)), from both values\n"
        "written before, and the second output is tanh(tanh(6))."
    )


if __name__ == "__main__":
    main()
