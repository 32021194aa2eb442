"""The layers that train, against the textbook cells and against PyTorch."""

import numpy as np
import pytest
from oracles import LSTMS, from_torch_gates, relative_error, torch_layers
from random_cells import CELL_NAMES, functions, make_cell

from charlstm import ModelConfig
from charlstm.network.layers import layer_of


def config_of(cell, H, dtype):
    """A model of one layer; "capped" is an LSTM with capped input gates."""
    kind = {"cell": "lstm", "capped": True} if cell == "capped" else {"cell": cell}
    return ModelConfig(hidden=H, layers=1, dtype=dtype, **kind)


# (T, B, D, H): single steps, streams and units, odd sizes, and sizes that kernels cut into blocks
SHAPES = [(1, 1, 1, 1), (7, 3, 5, 9), (1, 6, 2, 3), (9, 1, 4, 2), (12, 2, 3, 33), (9, 5, 7, 128)]


def run_layer(cell, parameters, x, state, dout, dstate):
    """Output, last state, gradients, dx and dstate of one layer, for a dense x or ids."""
    config = config_of(cell, state.shape[-1], state.dtype.name)
    layer = layer_of(config)
    activations = layer.new_activations(config, *x.shape[:2])
    end = layer.forward(parameters, x, state, activations)
    output = activations.h[1:].copy()
    gradients = {name: np.full_like(array, np.nan) for name, array in parameters.items()}
    dx = np.full_like(x, np.nan) if x.ndim == 3 else None
    dstate = dstate.copy()
    layer.backward(parameters, dout, dstate, activations, dx)
    layer.recurrent_gradients(gradients, activations)
    layer.projection_gradients(gradients, x, activations)
    return output, end, gradients, dx, dstate


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_layer_equals_the_textbook_cell(cell, shape, dtype, bound):
    T, B, D, H = shape
    x, h0, weights = make_cell(cell, B, T, D, H)
    for array in (weights["Wx"], weights["Wh"]):
        array /= len(array) ** 0.5  # no wider than a real initialisation
    forward, backward = functions(cell, "")
    h, cache = forward(x, h0, *weights.values())
    dh = np.random.default_rng(1).normal(size=h.shape)
    dx, dh0, *gradients = backward(dh, cache)

    state = np.zeros((layer_of(config_of(cell, H, "float64")).STATE_PARTS, B, H), dtype)
    state[0] = h0
    parameters = {name: array.astype(dtype) for name, array in weights.items()}
    time_major = np.ascontiguousarray(x.swapaxes(0, 1), dtype)
    dout = np.ascontiguousarray(dh.swapaxes(0, 1), dtype)
    output, end, mine, mine_dx, dstate = run_layer(
        cell, parameters, time_major, state, dout, np.zeros_like(state)
    )
    assert relative_error(output, h.swapaxes(0, 1)) < bound
    assert relative_error(end[0], h[:, -1]) < bound
    assert relative_error(mine_dx, dx.swapaxes(0, 1)) < bound
    assert relative_error(dstate[0], dh0) < bound
    for name, gradient in zip(weights, gradients, strict=True):
        assert relative_error(mine[name], gradient) < bound, name


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_ids_equal_one_hot_vectors(cell):
    T, B, D, H = 6, 4, 5, 3
    *_, weights = make_cell(cell, B, T, D, H)
    rng = np.random.default_rng(3)
    ids = rng.integers(D - 1, size=(T, B))  # the last id never comes up
    state = rng.normal(size=(layer_of(config_of(cell, H, "float64")).STATE_PARTS, B, H))
    dout, dstate = rng.normal(size=(T, B, H)), rng.normal(size=state.shape)
    by_ids = run_layer(cell, weights, ids, state, dout, dstate)
    dense = run_layer(cell, weights, np.eye(D)[ids], state, dout, dstate)
    assert relative_error(by_ids[0], dense[0]) < 1e-12
    for name in weights:
        assert relative_error(by_ids[2][name], dense[2][name]) < 1e-12, name
    assert not by_ids[2]["Wx"][-1].any()


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_stacked_layers_equal_pytorch(cell, layers, dtype, bound):
    """Hidden states, dx, dW_ih, dW_hh, db_ih, db_hh, dh0 and dc0 of nn.RNN, nn.GRU, nn.LSTM."""
    torch = pytest.importorskip("torch")
    T, B, D, H = 11, 3, 4, 7
    parts = layer_of(config_of(cell, H, "float64")).STATE_PARTS
    rng = np.random.default_rng(layers)
    stack = [make_cell(cell, B, T, D if k == 0 else H, H, dtype, seed=k)[2] for k in range(layers)]
    x = rng.normal(size=(T, B, D)).astype(dtype)
    state, dstate = rng.normal(0, 0.5, (2, layers, parts, B, H)).astype(dtype)
    dout = rng.normal(size=(T, B, H)).astype(dtype)

    theirs = torch_layers(cell, stack, dtype)
    tx = torch.from_numpy(x.copy()).requires_grad_()
    tstate = [torch.from_numpy(state[:, k].copy()).requires_grad_() for k in range(parts)]
    toutput, tend = theirs(tx, tuple(tstate) if cell in LSTMS else tstate[0])
    tend = tend if cell in LSTMS else (tend,)
    loss = (toutput * torch.from_numpy(dout)).sum()
    for k in range(parts):
        loss = loss + (tend[k] * torch.from_numpy(dstate[:, k].copy())).sum()
    loss.backward()

    config = config_of(cell, H, dtype)
    layer, activations, inputs = layer_of(config), [], [x]
    for k in range(layers):
        activations.append(layer.new_activations(config, T, B))
        end = layer.forward(stack[k], inputs[k], state[k], activations[k])
        for part in range(parts):
            assert relative_error(end[part], tend[part][k].detach()) < bound
        inputs.append(activations[k].h[1:])
    errors = {"output": relative_error(inputs[-1], toutput.detach())}
    gradient = dout.copy()
    for k in reversed(range(layers)):
        gradients = {name: np.empty_like(array) for name, array in stack[k].items()}
        dx = np.empty_like(inputs[k])
        layer.backward(stack[k], gradient, dstate[k], activations[k], dx)
        layer.recurrent_gradients(gradients, activations[k])
        layer.projection_gradients(gradients, inputs[k], activations[k])
        gradient = dx
        for part, name in enumerate(("dh0", "dc0")[:parts]):
            errors[f"{name} {k}"] = relative_error(dstate[k, part], tstate[part].grad[k])
        for ours, name in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
            other = from_torch_gates(cell, getattr(theirs, f"{name}_l{k}").grad.numpy())
            errors[f"{name} {k}"] = relative_error(gradients[ours], other)
        recurrent_bias = from_torch_gates(cell, getattr(theirs, f"bias_hh_l{k}").grad.numpy())
        own = gradients["b"].copy()
        if cell == "gru":
            own[2 * H :] = gradients["bn"]
        errors[f"bias_hh {k}"] = relative_error(own, recurrent_bias)
    errors["dx"] = relative_error(gradient, tx.grad)
    assert max(errors.values()) < bound, errors
    print(f"{layers} layers of {cell}, {dtype}: worst of {len(errors)} {max(errors.values()):.1e}")
