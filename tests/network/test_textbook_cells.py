"""Textbook cells: gradients of all inputs against finite differences, steps against PyTorch.

Lesson 2 of scripts/exercises shows a part of this. `pytest -s` prints the worst relative errors.
"""

import numpy as np
import pytest
from oracles import LSTMS, numeric_gradient, relative_error, torch_cell
from random_cells import CELL_NAMES, functions, make_cell

from charlstm import CharlstmError
from charlstm.network import textbook_cells

SHAPES = [(1, 1, 1, 1), (3, 5, 4, 7), (2, 1, 6, 3), (4, 9, 2, 1)]  # (N, T, D, H)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_step_gradients_equal_finite_differences(cell, shape):
    x, prev_h, weights = make_cell(cell, *shape)
    rng = np.random.default_rng(1)
    inputs = {"x": x[:, 0].copy(), "prev_h": prev_h}
    if cell in LSTMS:
        inputs["prev_c"] = rng.normal(size=prev_h.shape)
    inputs |= weights
    forward, backward = functions(cell, "_step")
    *outputs, cache = forward(*inputs.values())
    directions = [rng.normal(size=output.shape) for output in outputs]

    def loss():
        *now, _ = forward(*inputs.values())
        return sum(float((a * d).sum()) for a, d in zip(now, directions, strict=True))

    gradients = backward(*directions, cache)
    worst = 0.0
    for name, gradient in zip(inputs, gradients, strict=True):
        error = relative_error(gradient, numeric_gradient(loss, inputs[name]))
        assert error < 1e-7, name
        worst = max(worst, error)
    print(f"{cell} step, (N, T, D, H) = {shape}: worst relative error {worst:.1e}")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_sequence_gradients_equal_finite_differences(cell, shape):
    x, h0, weights = make_cell(cell, *shape)
    inputs = {"x": x, "h0": h0, **weights}
    forward, backward = functions(cell, "")
    h, cache = forward(*inputs.values())
    direction = np.random.default_rng(1).normal(size=h.shape)
    gradients = backward(direction, cache)
    worst = 0.0
    for name, gradient in zip(inputs, gradients, strict=True):
        numeric = numeric_gradient(
            lambda: float((forward(*inputs.values())[0] * direction).sum()), inputs[name]
        )
        error = relative_error(gradient, numeric)
        assert error < 1e-7, name
        worst = max(worst, error)
    print(f"{cell} sequence, (N, T, D, H) = {shape}: worst relative error {worst:.1e}")


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_step_equals_pytorch(cell):
    torch = pytest.importorskip("torch")
    x, prev_h, weights = make_cell(cell, 3, 1, 4, 5)
    theirs = torch_cell(cell, weights)
    leaves = [torch.from_numpy(a.copy()).requires_grad_() for a in (x[:, 0], prev_h)]
    rng = np.random.default_rng(2)
    states = [prev_h]
    if cell == "lstm":
        prev_c = rng.normal(size=prev_h.shape)
        states.append(prev_c)
        leaves.append(torch.from_numpy(prev_c.copy()).requires_grad_())
    *outputs, cache = getattr(textbook_cells, f"{cell}_step_forward")(
        x[:, 0], *states, *weights.values()
    )
    result = theirs(leaves[0], tuple(leaves[1:]) if cell == "lstm" else leaves[1])
    result = result if cell == "lstm" else (result,)
    directions = [rng.normal(size=prev_h.shape) for _ in outputs]
    sum((r * torch.from_numpy(d)).sum() for r, d in zip(result, directions, strict=True)).backward()
    for mine, other in zip(outputs, result, strict=True):
        assert relative_error(mine, other.detach()) < 1e-10
    gradients = getattr(textbook_cells, f"{cell}_step_backward")(*directions, cache)
    for mine, leaf in zip(gradients, leaves, strict=False):
        assert relative_error(mine, leaf.grad) < 1e-10


def test_capped_input_gate_is_at_most_one_minus_the_forget_gate():
    x, prev_h, weights = make_cell("capped", 50, 1, 3, 4)
    prev_c = np.tanh(prev_h)
    _, free_c, (*_, i, f, _, g, _) = textbook_cells.lstm_step_forward(
        x[:, 0], prev_h, prev_c, *weights.values()
    )
    _, next_c, _ = textbook_cells.lstm_step_forward(
        x[:, 0], prev_h, prev_c, *weights.values(), capped=True
    )
    free = i + f <= 1
    assert 0.2 < free.mean() < 0.8
    assert (next_c[free] == free_c[free]).all()
    assert relative_error(next_c[~free], (f * prev_c + (1 - f) * g)[~free]) < 1e-15
    assert np.abs(next_c).max() < 1 < np.abs(free_c).max()


def test_forget_gate_near_one_keeps_the_gradient_of_the_cell_state():
    x, prev_h, weights = make_cell("lstm", 2, 1, 3, 4)
    weights["b"][4:8] = 50.0
    prev_c = np.ones_like(prev_h)
    *_, cache = textbook_cells.lstm_step_forward(x[:, 0], prev_h, prev_c, *weights.values())
    dnext_c = np.random.default_rng(0).normal(size=prev_c.shape)
    gradients = textbook_cells.lstm_step_backward(np.zeros_like(prev_h), dnext_c, cache)
    assert relative_error(gradients[2], dnext_c) < 1e-12


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("x", np.zeros((3, 4, 5)), r"`x` must be of shape \(N, D\), not \(3, 4, 5\)"),
        ("x", np.zeros((3, 4), int), "`x` must hold floating-point numbers, not int64"),
        ("prev_h", np.zeros((2, 5)), r"`prev_h` must be of shape \(3, H\), not \(2, 5\)"),
        ("prev_c", np.zeros((3, 6)), r"`prev_c` must be of shape \(3, 5\), not \(3, 6\)"),
        ("Wx", np.zeros((4, 19)), r"`Wx` must be of shape \(4, 20\), not \(4, 19\)"),
        ("Wh", np.zeros((4, 20)), r"`Wh` must be of shape \(5, 20\), not \(4, 20\)"),
        ("b", np.zeros(19), r"`b` must be of shape \(20,\), not \(19,\)"),
    ],
)
def test_bad_argument_is_named_with_both_shapes(name, bad, message):
    x, prev_h, weights = make_cell("lstm", 3, 1, 4, 5)
    arguments = {"x": x[:, 0], "prev_h": prev_h, "prev_c": prev_h, **weights, name: bad}
    with pytest.raises(CharlstmError, match=message):
        textbook_cells.lstm_step_forward(*arguments.values())
