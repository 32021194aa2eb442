"""Exercise 4: a memory cell whose gates are set by hand.

The inputs are x1, x2, x3 and a 1 whose weights are the biases: "no bias" means that the bias is
the fourth input. x1 is the value; x2 = 1 writes it to the memory, x2 = -1 empties the memory, and
x3 = 1 lets the memory out. Nothing is recurrent but the memory (from the lectures of Hung-yi Lee,
with a linear candidate and output).
"""

import numpy as np

from charlstm.network.layers import CELLS
from charlstm.network.textbook_cells import lstm_step_forward, sigmoid

VALUES = [(1, 0, 0), (3, 1, 0), (2, 0, 0), (4, 1, 0), (2, 0, 0)]
VALUES += [(1, 0, 1), (3, -1, 0), (6, 1, 0), (1, 0, 1)]
INPUTS = np.array([(*values, 1) for values in VALUES], np.float64)  # (T, D)

CANDIDATE = (1, 0, 0, 0)
INPUT_GATE = (0, 100, 0, -10)  # open where x2 = 1
FORGET_GATE = (0, 100, 0, 10)  # open, which keeps the memory, but where x2 = -1
OUTPUT_GATE = (0, 0, 100, -10)  # open where x3 = 1

# As they are published, the rows of PyTorch's weight_ih: (0,100,0,10) comes first, (0,100,0,-10)
# second. But PyTorch's order is i f g o.
PUBLISHED = {"i": FORGET_GATE, "f": INPUT_GATE, "g": CANDIDATE, "o": OUTPUT_GATE}
UNSWAPPED = {"i": INPUT_GATE, "f": FORGET_GATE, "g": CANDIDATE, "o": OUTPUT_GATE}


def linear_cell():
    """The memory before each step, and the outputs, without any tanh."""
    memory, before, outputs = 0.0, [], []
    for x in INPUTS:
        before.append(memory)
        i, f, o = (sigmoid(x @ np.array(w)) for w in (INPUT_GATE, FORGET_GATE, OUTPUT_GATE))
        memory = f * memory + i * (x @ np.array(CANDIDATE))
        outputs.append(o * memory)
    return np.array(before), np.array(outputs)


def weights(rows):
    """Wx (4, 4) in our order i f o g, Wh (1, 4) and b (4) of zeros: one unit, H = 1."""
    Wx = np.array([rows[gate] for gate in "ifog"], np.float64).T.copy()
    return Wx, np.zeros((1, 4)), np.zeros(4)


def step_by_step(rows):
    """The outputs (T,) of cells.lstm_step_forward."""
    h = c = np.zeros((1, 1))
    outputs = []
    for x in INPUTS:
        h, c, _ = lstm_step_forward(x[None], h, c, *weights(rows))
        outputs.append(h[0, 0])
    return np.array(outputs)


def layer(rows):
    """The outputs (T,) of the layer that trains, over the whole sequence."""
    lstm = CELLS["lstm"]
    activations = lstm.activations(len(INPUTS), 1, 1, "float64")
    parameters = dict(zip(("Wx", "Wh", "b"), weights(rows), strict=True))
    lstm.forward(parameters, INPUTS[:, None], np.zeros((2, 1, 1)), activations)
    return activations.h[1:, 0, 0]


def pytorch(rows):
    """The outputs (T,) of nn.LSTMCell and nn.LSTM."""
    import torch

    x = torch.from_numpy(INPUTS)
    cell = torch.nn.LSTMCell(4, 1, bias=False, dtype=torch.float64)
    whole = torch.nn.LSTM(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        rows_ifgo = torch.tensor([rows[gate] for gate in "ifgo"], dtype=torch.float64)
        for theirs in (cell.weight_ih, whole.weight_ih_l0):
            theirs.copy_(rows_ifgo)
        for theirs in (cell.weight_hh, whole.weight_hh_l0):
            theirs.zero_()
        state, outputs = None, []
        for row in x:
            state = cell(row[None], state)
            outputs.append(float(state[0]))
        return np.array(outputs), whole(x)[0][:, 0].numpy()


def show(name, values):
    print(f"  {name:26}" + "".join(f"{value:8.3f}" for value in values))


def main():
    print("Linear candidate and output:")
    for k in range(3):
        show(f"x{k + 1}", INPUTS[:, k])
    memory, outputs = linear_cell()
    show("memory before the step", memory)
    show("output", outputs)
    for title, rows in (
        ("With tanh, rows as published, read by PyTorch as i f g o:", PUBLISHED),
        ("With tanh, input and forget gate unswapped:", UNSWAPPED),
    ):
        print(title)
        show("cells.lstm_step_forward", step_by_step(rows))
        show("the layer that trains", layer(rows))
        try:
            for name, values in zip(("nn.LSTMCell", "nn.LSTM"), pytorch(rows), strict=True):
                show(name, values)
        except ImportError:
            print("  (PyTorch is not installed)")
    print(
        "The published rows give the forget gate the weights meant for the input gate: it closes\n"
        "at each step without x2 = 1, so that nothing is kept, and the input gate stands open but\n"
        "for x2 = -1: the outputs show tanh(tanh(1)), the value of the very step. Unswapped, the\n"
        "first output is tanh(tanh(3) + tanh(4)), both writes, and the second tanh(tanh(6))."
    )


if __name__ == "__main__":
    main()
