"""Compares backward functions with numeric gradients and with PyTorch.

    .venv/bin/python scripts/exercises/check_gradients.py

For each backward function of the textbook cells, the script prints the largest relative error of
its gradients, in float64. The comparison with PyTorch is left out if PyTorch is not installed. The
tests of the cells and of the layers also compare other shapes, float32, and stacks of layers.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from charlstm.network import textbook_cells

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "helpers"))
from oracles import from_torch_gates, numeric_gradient, relative_error, torch_layers

N, T, D, H = 3, 5, 4, 6  # the numbers of sequences, time steps, inputs and hidden units
GATES = {"rnn": 1, "gru": 3, "lstm": 4}  # the number of blocks of H columns in the weights


def inputs_of(cell, form):
    """Return random inputs by name, in the order of the forward function's arguments."""
    rng = np.random.default_rng(0)
    shapes = {"x": (N, D), "prev_h": (N, H)} if form == "step" else {"x": (N, T, D), "h0": (N, H)}
    if (cell, form) == ("lstm", "step"):
        shapes["prev_c"] = (N, H)
    G = GATES[cell] * H
    shapes |= {"Wx": (D, G), "Wh": (H, G), "b": (G,)}
    if cell == "gru":
        shapes["bn"] = (H,)
    return {name: rng.normal(0, 0.6, shape) for name, shape in shapes.items()}


def functions(cell, form):
    """Return the forward and the backward function of a cell, for one step or for a sequence."""
    infix = "_step" if form == "step" else ""
    return (getattr(textbook_cells, f"{cell}{infix}_{way}") for way in ("forward", "backward"))


def error_to_numeric_gradients(cell, form):
    """Return the largest relative error of the gradients of a loss, compared with numeric ones.

    The loss is the sum of all outputs, each multiplied by a random number.
    """
    inputs = inputs_of(cell, form)
    forward, backward = functions(cell, form)
    *outputs, cache = forward(*inputs.values())
    rng = np.random.default_rng(1)
    directions = [rng.normal(size=output.shape) for output in outputs]

    def loss():
        *outputs, _ = forward(*inputs.values())
        return sum(float((a * d).sum()) for a, d in zip(outputs, directions, strict=True))

    gradients = zip(inputs.values(), backward(*directions, cache), strict=True)
    return max(relative_error(own, numeric_gradient(loss, x)) for x, own in gradients)


def error_to_pytorch(cell):
    """Return the largest relative error of states and gradients, compared with those of PyTorch.

    PyTorch computes them with nn.RNN, nn.GRU or nn.LSTM.
    """
    import torch

    inputs = inputs_of(cell, "sequence")
    x, h0, *_ = inputs.values()
    forward, backward = functions(cell, "sequence")
    h, cache = forward(*inputs.values())
    dh = np.random.default_rng(1).normal(size=h.shape)
    dx, dh0, dWx, dWh, db, *_ = backward(dh, cache)

    module = torch_layers(
        cell, [{name: inputs[name] for name in inputs.keys() - {"x", "h0"}}], "float64"
    )
    their_x = torch.from_numpy(x.swapaxes(0, 1).copy()).requires_grad_()
    their_h0 = torch.from_numpy(h0[None].copy()).requires_grad_()
    start = (their_h0, torch.zeros_like(their_h0)) if cell == "lstm" else their_h0
    their_h, _ = module(their_x, start)
    their_h.backward(torch.from_numpy(dh.swapaxes(0, 1).copy()))
    weights = (module.weight_ih_l0, module.weight_hh_l0, module.bias_ih_l0)
    theirs = [their_h.detach().numpy().swapaxes(0, 1), their_x.grad.numpy().swapaxes(0, 1)]
    theirs += [their_h0.grad[0].numpy()]
    theirs += [from_torch_gates(cell, w.grad.numpy()) for w in weights]
    return max(map(relative_error, (h, dx, dh0, dWx, dWh, db), theirs))


def main():
    """Print the errors of the gradients of all cells."""
    print("largest relative error of the gradients of all inputs, in float64")
    for cell in GATES:
        for form in ("step", "sequence"):
            error = error_to_numeric_gradients(cell, form)
            print(f"{cell:5} {form:9} against numeric gradients  {error:.0e}")
        if find_spec("torch"):
            print(f"{cell:5} sequence  against PyTorch            {error_to_pytorch(cell):.0e}")


if __name__ == "__main__":
    main()
