"""Dropout: what is drawn, and a masked network against PyTorch."""

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
    assert (first[0] != first[1]).any()  # a mask for each layer
    recurrent[0][...] += 1
    again = dropout.draw()
    assert (first[0] != again.recurrent[0].factors).any()  # and anew for each step,
    assert (again.recurrent[0].weights == recurrent[0] * again.recurrent[0].factors).all()
    same, _ = make(hidden=83, dtype=dtype, weight_dropout=p)
    assert (same.draw().recurrent[1].factors == first[1]).all()  # from the generator alone


def test_what_is_not_dropped_costs_nothing():
    for options in ({}, {"weight_dropout": 0.001}):  # below half of a 256th
        dropout, _ = make(**options)
        assert dropout.draw() == Masks()
        assert dropout._rng.random() == np.random.default_rng(1).random()


def test_lanes_share_dropped_weights_and_have_their_own_units():
    masks = make(dropout=0.4, weight_dropout=0.4)[0].draw()
    part = masks.of_streams(slice(1, 3))
    assert (part.between == masks.between[:, 1:]).all() and part.between.shape == (1, 2, 5)
    assert (part.head_input == masks.head_input[:, 1:]).all() and part.head_input.shape == (1, 2, 5)
    assert part.recurrent is masks.recurrent


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("out", "between"), [(0.4, 0.1), (0.4, 0.0), (0.0, 0.3), (0.25, None)])
@pytest.mark.parametrize("skip", [False, True])
def test_what_the_head_sees_and_what_is_between_layers_have_dropout_of_their_own(
    skip, out, between, dtype
):
    options = {"dropout": out, "dropout_between": between}
    dropout, _ = make(hidden=50, layers=3, batch_size=40, dtype=dtype, skip=skip, **options)
    assert dropout.drops_outputs
    masks = dropout.draw()
    seen = 3 if skip else 1
    assert masks.between.shape == (2, 40, 50) and masks.between.dtype == dtype
    assert masks.head_input.shape == (seen, 40, 50) and masks.head_input.dtype == dtype
    parts = (out if between is None else between,) * 2 + (out,) * seen
    for factors, p in zip((*masks.between, *masks.head_input), parts, strict=True):
        assert np.allclose(factors[factors != 0], 1 / (1 - p), rtol=1e-6)
        assert abs((factors == 0).mean() - p) <= 4 * (p * (1 - p) / factors.size) ** 0.5


def test_one_layer_has_nothing_between():
    assert make(layers=1, dropout_between=0.5)[0].draw() == Masks()


@pytest.mark.parametrize("name", ["dropout", "dropout_between", "weight_dropout"])
@pytest.mark.parametrize("bad", [1.0, -0.1])
def test_bad_probabilities_are_refused(name, bad):
    with pytest.raises(CharlstmError, match=f"{name} must be 0 or more and below 1"):
        TrainConfig(**{name: bad})


@pytest.mark.parametrize(("skip", "ngrams"), [(False, 0), (True, 0), (False, 3), (True, 5)])
@pytest.mark.parametrize(
    ("cell", "capped"), [("lstm", False), ("lstm", True), ("gru", False), ("rnn", False)]
)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 33, 17, 20, 5)])
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
def test_a_masked_network_equals_pytorchs(shape, dtype, bound, cell, capped, skip, ngrams):
    torch = pytest.importorskip("torch")
    kind = {"cell": cell, "capped": capped, "skip": skip, "ngrams": ngrams}
    model, inputs, targets, state = make_model(*shape, dtype=dtype, **kind)
    for array in model.parameters.values():
        array /= max(1.0, len(array) ** 0.5 / 2)  # no wider than a real initialisation
    (T, B), L, H = inputs.shape, model.config.layers, model.config.hidden
    rng = np.random.default_rng(2)
    between = rng.choice([0, 1.25], (L - 1, B, H)).astype(dtype)
    seen = rng.choice([0, 1.25], (model.config.layers_seen, B, H)).astype(dtype)
    recurrent = []
    for k in range(L):
        Wh = model.parameters[f"layers.{k}.Wh"]
        factors = rng.choice([0, 2], Wh.shape).astype(dtype)
        recurrent.append(DroppedWeights(factors, Wh * factors))
    masks = Masks(between, seen, tuple(recurrent))
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
    for name, gradient in theirs.gradients().items():
        assert relative_error(gradients[name], gradient) < bound, name
