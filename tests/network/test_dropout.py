"""Dropout: the masks that are drawn, and a masked network against PyTorch."""

import numpy as np
import pytest
from oracles import TorchStack, relative_error
from random_models import SHAPES, make_model

from charlstm import CharlstmError, TrainConfig
from charlstm.network.dropout import Dropout, DroppedWeights, Masks


def make(
    hidden=5, layers=2, batch_size=3, dtype="float32", cell="lstm", skip=False, seed=1, **options
):
    model, *_ = make_model(layers, hidden, 4, 1, 1, dtype, cell=cell, skip=skip)
    recurrent = [model.parameters[f"layers.{k}.Wh"] for k in range(layers)]
    rng = np.random.default_rng(seed)
    return Dropout(model.config, TrainConfig(**options), batch_size, recurrent, rng), recurrent


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("p", "rounded"), [(0.2, 51 / 256), (0.5, 0.5), (0.999, 255 / 256)])
def test_weights_are_dropped_at_random_and_the_others_scaled(p, rounded, dtype):
    dropout, recurrent = make(hidden=83, dtype=dtype, weight_dropout=p)
    masks = dropout.draw()
    assert masks.between is None and masks.head_input is None and len(masks.recurrent) == 2
    for Wh, dropped in zip(recurrent, masks.recurrent, strict=True):
        assert dropped.factors.dtype == dropped.weights.dtype == dtype
        assert np.allclose(np.unique(dropped.factors), [0, 1 / (1 - rounded)], rtol=1e-6)
        spread = (rounded * (1 - rounded) / Wh.size) ** 0.5
        assert abs((dropped.factors == 0).mean() - rounded) < 4 * spread
        assert (dropped.weights == Wh * dropped.factors).all()
    first = [dropped.factors.copy() for dropped in masks.recurrent]
    assert (first[0] != first[1]).any()  # each layer has a mask of its own
    recurrent[0][...] += 1
    again = dropout.draw()
    assert (first[0] != again.recurrent[0].factors).any()  # each step draws a new one
    assert (again.recurrent[0].weights == recurrent[0] * again.recurrent[0].factors).all()
    same, _ = make(hidden=83, dtype=dtype, weight_dropout=p)
    assert (same.draw().recurrent[1].factors == first[1]).all()  # the seed decides


def test_without_dropout_no_random_number_is_drawn():
    for options in ({}, {"weight_dropout": 0.001}):  # less than half of 1 / 256 is rounded to 0
        dropout, _ = make(**options)
        assert dropout.draw() == Masks()
        assert dropout._rng.random() == np.random.default_rng(1).random()


def test_streams_share_dropped_weights_but_not_dropped_units():
    masks = make(dropout=0.4, weight_dropout=0.4)[0].draw()
    own = masks.of_streams(slice(1, 3))
    assert (own.between == masks.between[:, 1:]).all() and own.between.shape == (1, 2, 5)
    assert (own.head_input == masks.head_input[:, 1:]).all() and own.head_input.shape == (1, 2, 5)
    assert own.recurrent is masks.recurrent


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("out", "between"), [(0.4, 0.1), (0.4, 0.0), (0.0, 0.3), (0.25, None)])
@pytest.mark.parametrize("skip", [False, True])
def test_head_input_and_layers_have_dropout_probabilities_of_their_own(skip, out, between, dtype):
    options = {"dropout": out, "dropout_between": between}
    dropout, _ = make(hidden=50, layers=3, batch_size=40, dtype=dtype, skip=skip, **options)
    assert dropout.drops_outputs
    masks = dropout.draw()
    seen = 3 if skip else 1
    assert masks.between.shape == (2, 40, 50) and masks.between.dtype == dtype
    assert masks.head_input.shape == (seen, 40, 50) and masks.head_input.dtype == dtype
    expected = (out if between is None else between,) * 2 + (out,) * seen
    for factors, p in zip((*masks.between, *masks.head_input), expected, strict=True):
        assert np.allclose(factors[factors != 0], 1 / (1 - p), rtol=1e-6)
        assert abs((factors == 0).mean() - p) <= 4 * (p * (1 - p) / factors.size) ** 0.5


def test_one_layer_has_no_dropout_between_layers():
    assert make(layers=1, dropout_between=0.5)[0].draw() == Masks()


@pytest.mark.parametrize("name", ["dropout", "dropout_between", "weight_dropout"])
@pytest.mark.parametrize("bad", [1.0, -0.1])
def test_bad_probabilities_are_refused(name, bad):
    with pytest.raises(CharlstmError, match=f"`{name}` must be 0 or more and below 1"):
        TrainConfig(**{name: bad})


@pytest.mark.parametrize(("skip", "ngrams"), [(False, 0), (True, 0), (False, 3), (True, 5)])
@pytest.mark.parametrize(
    ("cell", "capped"), [("lstm", False), ("lstm", True), ("gru", False), ("rnn", False)]
)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 33, 17, 20, 5)])
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
def test_masked_network_equals_pytorch(shape, dtype, bound, cell, capped, skip, ngrams):
    torch = pytest.importorskip("torch")
    kind = {"cell": cell, "capped": capped, "skip": skip, "ngrams": ngrams}
    model, inputs, targets, state = make_model(*shape, dtype=dtype, **kind)
    for array in model.parameters.values():
        array /= max(1.0, len(array) ** 0.5 / 2)  # no wider than a real initialisation
    (T, B), L, H = inputs.shape, model.config.layers, model.config.hidden
    rng = np.random.default_rng(2)
    between = rng.choice([0, 1.25], (L - 1, B, H)).astype(dtype)
    head_input = rng.choice([0, 1.25], (model.config.layers_seen, B, H)).astype(dtype)
    recurrent = []
    for k in range(L):
        Wh = model.parameters[f"layers.{k}.Wh"]
        factors = rng.choice([0, 2], Wh.shape).astype(dtype)
        recurrent.append(DroppedWeights(factors, Wh * factors))
    masks = Masks(between, head_input, tuple(recurrent))
    activations = model.new_activations(T, B, dropout=True)
    end = model.forward(inputs, state, activations, masks)
    log_probs = activations.log_probs.copy()
    gradients = model.parameters.zeros_like()
    dstate = model.backward(targets, activations, gradients, 1 / inputs.size, masks)

    theirs = TorchStack(model, masks)
    tstate = torch.from_numpy(state.copy()).requires_grad_()
    logits, tend = theirs(torch.from_numpy(inputs), tstate)
    their_log_probs = torch.log_softmax(logits.reshape(inputs.size, -1), -1)
    torch.nn.functional.nll_loss(their_log_probs, torch.from_numpy(targets).reshape(-1)).backward()
    assert relative_error(log_probs, their_log_probs.detach()) < bound
    assert relative_error(end, tend.detach()) < bound
    assert relative_error(dstate, tstate.grad) < bound
    their_gradients = theirs.gradients()
    if H == 1 and dtype == "float32":
        # With one unit, the gradient of Wh may be a single number, the small difference of two
        # sums: 4.6e-6 of terms that add up to 3.7e-4 in one case here. In float32, PyTorch is then
        # 1.1e-4 off its own float64 gradient, and we are 0.8e-4 off. So each layer is compared as
        # one vector; its single arrays are compared in float64.
        gradients, their_gradients = as_layers(gradients), as_layers(their_gradients)
    for name, gradient in their_gradients.items():
        assert relative_error(gradients[name], gradient) < bound, name


def as_layers(gradients):
    """The gradients of each layer as one vector, by the layer's name."""
    layers = {}
    for name in sorted(gradients):
        layers.setdefault(name.rpartition(".")[0], []).append(np.ravel(gradients[name]))
    return {name: np.concatenate(arrays) for name, arrays in layers.items()}
