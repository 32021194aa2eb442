"""The network in PyTorch against ours, and the conversions from and to PyTorch's own layers."""

import importlib
import sys
from itertools import product

import numpy as np
import pytest
from oracles import relative_error
from random_models import SHAPES, make_model

from charlstm import ArgumentError, CharlstmError, kernels
from charlstm.network.dropout import NO_MASKS, DroppedWeights, Masks

torch = pytest.importorskip("torch")

from charlstm.torch_engine import CharNetwork, from_torch, to_torch  # noqa: E402
from charlstm.torch_engine.network import TensorMasks  # noqa: E402

KINDS = [
    {"cell": cell, "skip": skip, "ngrams": ngrams}
    for cell in ("lstm", "gru", "rnn")
    for skip, ngrams in ((False, 0), (True, 6))
]
KINDS += [{"capped": True}, {"capped": True, "skip": True, "ngrams": 3}]
CPU = torch.device("cpu")


def random_masks(model, B):
    """Masks that drop outputs and recurrent weights."""
    rng, config = np.random.default_rng(1), model.config
    matrices = [model.parameters[f"layers.{k}.Wh"] for k in range(config.layers)]
    factors = [rng.choice([0.0, 1.25], Wh.shape) for Wh in matrices]
    return Masks(
        rng.choice([0.0, 2.0], (config.layers - 1, B, config.hidden)),
        rng.choice([0.0, 2.0], (config.layers_seen, B, config.hidden)),
        tuple(DroppedWeights(f, Wh * f) for f, Wh in zip(factors, matrices, strict=True)),
    )


def ours(model, inputs, targets, state, masks, precision="float32"):
    """The loss, the state after the window, and the gradients of a CharModel."""
    activations = model.new_activations(*inputs.shape, masks.between is not None, precision)
    after = model.forward(inputs, state, activations, masks)
    chosen = np.take_along_axis(activations.log_probs, targets.reshape(-1, 1), 1)
    gradients = model.parameters.zeros_like()
    dstate = model.backward(targets, activations, gradients, 1 / inputs.size, masks)
    return -chosen.mean(), after, {**gradients, "state": dstate}


def theirs(model, inputs, targets, state, masks, precision="float32"):
    """The same of the CharNetwork with the weights of the model."""
    network = CharNetwork.from_model(model, precision)
    before = torch.from_numpy(state).requires_grad_()
    logits, after = network(torch.from_numpy(inputs), before, TensorMasks.of(masks, CPU))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(targets).reshape(-1))
    loss.backward()
    gradients = {name: weights.grad.numpy() for name, weights in network.named_parameters()}
    return loss.item(), after.detach().numpy(), {**gradients, "state": before.grad.numpy()}


def require_equal(found, expected, bound):
    assert abs(found[0] - expected[0]) < bound
    assert relative_error(found[1], expected[1]) < bound
    assert found[2].keys() == expected[2].keys()
    for name, gradient in expected[2].items():
        assert relative_error(found[2][name], gradient) < bound, name


@pytest.mark.parametrize("drops", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize(("shape", "kind"), [*product(SHAPES, KINDS)], ids=str)
def test_losses_and_gradients_equal_those_of_the_model(shape, kind, drops):
    case = model, *_ = make_model(*shape, **kind)
    masks = random_masks(model, shape[-1]) if drops else NO_MASKS
    require_equal(theirs(*case, masks), ours(*case, masks), 1e-10)


def test_symbols_of_any_code_choose_the_same_rows_of_a_large_table():
    """The hash needs all 64 bits, which PyTorch has only as signed integers."""
    model, inputs, _, state = make_model(1, 2, 26, 40, 30, ngrams=6)
    object.__setattr__(model.config, "ngram_slots", 2**24)
    expected = model.context_rows(inputs, state, state.copy())
    network = CharNetwork.from_model(make_model(1, 2, 26, 1, 1, ngrams=6)[0])
    network.config = model.config
    found = network.context_rows(torch.from_numpy(inputs), torch.from_numpy(state)).numpy()
    assert expected.max() > 2**23 and np.array_equal(found, expected)


@pytest.mark.skipif(not kernels.multiplies_bfloat16(), reason="no kernels for bfloat16 here")
def test_bfloat16_rounds_the_same_operands():
    """The sums are in float32, and rounding errors of sums may round an operand otherwise."""
    case = make_model(2, 32, 9, 12, 5, "float32", capped=True, skip=True)
    found = theirs(*case, NO_MASKS, "bfloat16")
    require_equal(found, ours(*case, NO_MASKS, "bfloat16"), 2e-3)
    exact = ours(*case, NO_MASKS)
    assert relative_error(found[2]["layers.0.Wh"], exact[2]["layers.0.Wh"]) > 1e-3


def test_a_network_has_the_parameters_of_its_model_in_their_order_and_gives_them_back():
    for kind in KINDS:
        model, *_ = make_model(2, 3, 5, 1, 1, **kind)
        network = CharNetwork.from_model(model)
        assert [name for name, _ in network.named_parameters()] == list(model.parameters)
        back = network.to_model()
        assert back.config == model.config and back.vocab == model.vocab
        for name, array in model.parameters.items():
            assert np.array_equal(back.parameters[name], array)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorch_s_own_layers_have_our_output_and_give_our_weights_back(cell, dtype):
    model, inputs, _, state = make_model(2, 5, 7, 9, 3, dtype, cell=cell)
    layers, head = to_torch(model)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(inputs), 7).to(head.weight.dtype)
    parts = [torch.from_numpy(state[:, s].copy()) for s in range(state.shape[1])]
    outputs, _ = layers(one_hot, tuple(parts) if cell == "lstm" else parts[0])
    log_probs = head(outputs).log_softmax(-1).flatten(0, 1).detach()
    activations = model.new_activations(*inputs.shape)
    model.forward(inputs, state, activations)
    bound = 1e-12 if dtype == "float64" else 1e-5
    assert relative_error(outputs.detach(), activations.layers[-1].h[1:]) < bound
    assert relative_error(log_probs, activations.log_probs) < bound
    back = from_torch(layers, head, model.vocab)
    assert (back.config.cell, back.config.dtype, back.vocab) == (cell, dtype, model.vocab)
    assert back.parameters.keys() == model.parameters.keys()
    for name, array in model.parameters.items():
        assert np.array_equal(back.parameters[name], array), name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_layers_of_pytorch_become_a_model_with_the_sum_of_their_biases(cell, bias):
    torch.manual_seed(0)
    vocab = make_model(1, 1, 6, 1, 1)[0].vocab
    layers = getattr(torch.nn, cell)(6, 4, 2, bias=bias, dtype=torch.float64)
    head = torch.nn.Linear(4, 6, bias=bias, dtype=torch.float64)
    model = from_torch(layers, head, vocab)
    ids = np.random.default_rng(0).integers(6, size=(8, 3))
    outputs, _ = layers(torch.nn.functional.one_hot(torch.from_numpy(ids), 6).double())
    activations = model.new_activations(8, 3)
    model.forward(ids, model.initial_state(3), activations)
    log_probs = head(outputs).log_softmax(-1).flatten(0, 1).detach()
    assert relative_error(log_probs, activations.log_probs) < 1e-12
    if bias and cell == "RNN":
        total = layers.bias_ih_l1 + layers.bias_hh_l1
        assert np.array_equal(model.parameters["layers.1.b"], total.detach().numpy())


def test_what_pytorch_s_layers_cannot_express_is_refused():
    for kind in ({"capped": True}, {"skip": True}, {"ngrams": 2}):
        with pytest.raises(ArgumentError, match="has no counterpart in PyTorch's layers"):
            to_torch(make_model(2, 3, 5, 1, 1, **kind)[0])
    vocab, head = make_model(1, 1, 6, 1, 1)[0].vocab, torch.nn.Linear(4, 6)
    for layers, message in (
        (torch.nn.LSTM(6, 4, bidirectional=True), "in one direction"),
        (torch.nn.LSTM(6, 4, proj_size=2), "no projections"),
        (torch.nn.RNN(6, 4, nonlinearity="relu"), "nonlinearity tanh"),
        (torch.nn.LSTM(5, 4), "one-hot vectors of 6 symbols"),
        (torch.nn.LSTM(6, 3), "from the outputs of `layers`"),
        (torch.nn.Linear(6, 4), "`layers` must be of type RNNBase"),
    ):
        with pytest.raises(ArgumentError, match=message):
            from_torch(layers, head, vocab)


def test_without_pytorch_one_line_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("charlstm.torch_engine")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    message = r"PyTorch is not installed: pip install 'charlstm\[torch\]'"
    with pytest.raises(CharlstmError, match=message):
        importlib.import_module("charlstm.torch_engine")
