"""CharModel: gradients against finite differences and PyTorch, carried state, bad arguments."""

import threading
from itertools import product

import numpy as np
import pytest
from oracles import relative_error, to_torch_gates, torch_model
from plain_network import mean_losses, numeric_gradients
from random_models import SHAPES, make_model

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab
from charlstm.network import stack
from charlstm.network.dropout import NO_MASKS, DroppedWeights, Masks

KINDS = [
    {"cell": cell, "skip": skip, "ngrams": ngrams}
    for cell in ("lstm", "gru", "rnn")
    for skip, ngrams in ((False, 0), (True, 0), (False, 2), (True, 6))
]
KINDS += [{"capped": True}, {"capped": True, "skip": True, "ngrams": 6}]


def gradients_of(model, inputs, targets, state, masks=NO_MASKS):
    """The gradients of the mean loss by parameter name, and that of the "state"."""
    activations = model.new_activations(*inputs.shape, dropout=masks.between is not None)
    model.forward(inputs, state, activations, masks)
    gradients = model.parameters.zeros_like()
    dstate = model.backward(targets, activations, gradients, 1 / inputs.size, masks)
    return {**gradients, "state": dstate}


def require_equal_gradients(found, expected):
    assert set(found) == set(expected)
    for name in expected:
        assert relative_error(found[name], expected[name]) < 1e-6, name


@pytest.mark.parametrize(("shape", "kind"), [*product(SHAPES, KINDS)], ids=str)
def test_gradients_equal_finite_differences(shape, kind):
    """Of all elements with the plain network, whose losses are the model's."""
    model, *case = make_model(*shape, seed=kind.get("ngrams", 0), **kind)
    loss, gradients, _ = model.loss_and_gradients(*case)
    assert loss == pytest.approx(float(mean_losses(model, *case)[0]), rel=1e-13)
    gradients = {**gradients, "state": gradients_of(model, *case)["state"]}
    require_equal_gradients(gradients, numeric_gradients(model, *case))


@pytest.mark.parametrize(("shape", "kind"), [*product(SHAPES, KINDS)], ids=str)
def test_losses_change_along_the_gradients(shape, kind):
    """Finite differences of the model's own losses, in random directions of all parameters."""
    model, inputs, targets, state = make_model(*shape, seed=kind.get("ngrams", 0), **kind)
    gradients = gradients_of(model, inputs, targets, state)
    arrays = {**model.parameters, "state": state[: model.config.layers]}
    start = {name: array.copy() for name, array in arrays.items()}
    rng = np.random.default_rng(0)
    for _ in range(3):
        directions = {name: rng.normal(size=array.shape) for name, array in arrays.items()}
        losses = {}
        for k in (1, -1, 2, -2):
            for name, array in arrays.items():
                array[...] = start[name] + 1e-5 * k * directions[name]
            losses[k] = model.losses(inputs, targets, state)[0].mean()
        slope = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / 12e-5
        gradient = np.concatenate([gradients[name][: len(a)].ravel() for name, a in arrays.items()])
        direction = np.concatenate([directions[name].ravel() for name in arrays])
        assert abs(slope - gradient @ direction) < 1e-6 * np.linalg.norm(gradient)


@pytest.mark.parametrize("capped", [False, True])
@pytest.mark.parametrize("shape", [*SHAPES, (2, 33, 17, 20, 5), (1, 128, 65, 12, 9)])
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-10), ("float32", 1e-4)])
def test_equals_pytorch(shape, dtype, bound, capped):
    torch = pytest.importorskip("torch")
    model, inputs, targets, state = make_model(*shape, dtype=dtype, capped=capped)
    if dtype == "float32":
        for array in model.parameters.values():
            array /= max(1.0, len(array) ** 0.5 / 2)  # no wider than a real initialisation
    loss, gradients, new_state = model.loss_and_gradients(inputs, targets, state)
    activations = model.new_activations(*inputs.shape)
    model.forward(inputs, state, activations)
    output = activations.layers[-1].h[1:].copy()
    dstate = model.backward(targets, activations, model.parameters.zeros_like(), 1 / inputs.size)

    lstm, head = torch_model(model)
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(inputs), len(model.vocab))
    h0 = torch.from_numpy(state[:, 0].copy()).requires_grad_()
    c0 = torch.from_numpy(state[:, 1].copy()).requires_grad_()
    theirs, (h, c) = lstm(one_hot.to(h0.dtype), (h0, c0))
    logits = head(theirs)
    their_loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), torch.from_numpy(targets).reshape(-1)
    )
    their_loss.backward()

    assert abs(loss - their_loss.item()) < bound
    assert relative_error(output, theirs.detach()) < bound
    assert relative_error(new_state, torch.stack((h, c), 1).detach()) < bound
    assert relative_error(dstate, torch.stack((h0.grad, c0.grad), 1)) < bound
    assert relative_error(gradients["head.W"], head.weight.grad.T) < bound
    assert relative_error(gradients["head.b"], head.bias.grad) < bound
    for k in range(model.config.layers):
        for ours, name in (("Wx", "weight_ih"), ("Wh", "weight_hh"), ("b", "bias_ih")):
            mine = to_torch_gates(model.config.cell, gradients[f"layers.{k}.{ours}"])
            assert relative_error(mine, getattr(lstm, f"{name}_l{k}").grad) < bound, name


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
def test_two_windows_with_carried_state_equal_one_long_window(dtype, bound):
    model, inputs, targets, state = make_model(2, 6, 5, 20, 3, dtype)
    expected, expected_end = model.losses(inputs, targets, state)
    first, middle = model.losses(inputs[:10], targets[:10], state)
    second, end = model.losses(inputs[10:], targets[10:], middle)
    assert relative_error(np.concatenate((first, second)), expected) < bound
    assert relative_error(end, expected_end) < bound


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("shape", [(2, 5, 4, 6, 3), (1, 3, 2, 1, 1), (3, 4, 6, 11, 2)])
def test_gradients_under_dropout_equal_finite_differences(shape, cell, skip):
    model, *case = make_model(*shape, cell=cell, skip=skip)
    L, H, _, _, B = shape
    rng = np.random.default_rng(1)
    between = rng.choice([0.0, 2.0], (L - 1, B, H))
    head_input = rng.choice([0.0, 2.0], (model.config.layers_seen, B, H))
    recurrent = []
    for k in range(L):
        Wh = model.parameters[f"layers.{k}.Wh"]
        factors = rng.choice([0.0, 1.25], Wh.shape)
        recurrent.append(DroppedWeights(factors, Wh * factors))
    masks = Masks(between, head_input, tuple(recurrent))
    gradients = gradients_of(model, *case, masks)
    require_equal_gradients(gradients, numeric_gradients(model, *case, masks))
    # the head learns nothing from a unit that is dropped in every stream
    head_input[0, :, 2] = 0
    head_input[0, :, 1] = 1
    dW = gradients_of(model, *case, masks)["head.W"]
    assert not dW[2].any() and dW[1].any()


def test_steps_equal_the_window():
    model, inputs, targets, state = make_model(2, 6, 5, 12, 3)
    losses, end = model.losses(inputs, targets, state)
    for t in range(len(inputs)):
        log_probs, state = model.step(inputs[t], state)
        assert np.allclose(np.exp(log_probs).sum(axis=1), 1)
        assert relative_error(-log_probs[np.arange(3), targets[t]], losses[t]) < 1e-12
    assert relative_error(state, end) < 1e-12


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_text_read_in_windows_leaves_the_state_of_its_steps(kind, lines, monkeypatch):
    monkeypatch.setattr(stack, "READ_STEPS", 5)
    vocab = Vocab.from_text("abc\n")
    model = CharModel(ModelConfig(hidden=6, layers=2, dtype="float64", lines=lines, **kind), vocab)
    for text in ("a", "abcab", "abcacbabc", "ab\ncabbacab", "ab\nab\n", "\nabcabcabc"):
        ids, state = vocab.encode(text), model.initial_state(1)
        expected = state
        for id_ in ids:
            _, expected = model.step(np.array([id_]), expected)
        assert relative_error(model.read(ids, state), expected) < 1e-12
        middle = model.read(ids[: len(ids) // 2 + 1], state)
        if len(ids) > 1:
            assert relative_error(model.read(ids[len(ids) // 2 + 1 :], middle), expected) < 1e-12


def test_bad_ids_of_a_text_that_is_read_are_refused():
    model, *_ = make_model(1, 4, 3, 5, 1)
    with pytest.raises(CharlstmError, match=r"`ids` must be 0 to 2, not 3$"):
        model.read(np.array([0, 3]), model.initial_state(1))


def test_initial_weights_are_as_documented():
    vocab = Vocab.from_text("abcdefgh")
    model = CharModel(ModelConfig(hidden=200, layers=2), vocab, seed=3)
    p = model.parameters
    assert list(p) == [
        *(f"layers.{k}.{name}" for k in (0, 1) for name in ("Wx", "Wh", "b")),
        "head.W",
        "head.b",
    ]
    assert p["layers.0.Wx"].shape == (8, 800) and p["layers.1.Wx"].shape == (200, 800)
    assert p["head.W"].shape == (200, 8)
    assert abs(p["layers.1.Wh"].std() - 200**-0.5) < 0.001
    bias = p["layers.1.b"].reshape(4, 200)
    assert (bias[1] == 1).all() and not bias[[0, 2, 3]].any()
    same = CharModel(ModelConfig(hidden=200, layers=2), vocab, seed=3)
    other = CharModel(ModelConfig(hidden=200, layers=2), vocab, seed=4)
    assert (same.parameters.vector == p.vector).all()
    assert (other.parameters["head.W"] != p["head.W"]).all()


def test_parameters_are_views_and_writes_change_the_model():
    model, inputs, targets, state = make_model(1, 4, 3, 5, 2)
    before = model.loss_and_gradients(inputs, targets, state)[0]
    model.parameters["head.b"] = np.array([5.0, 0.0, 0.0])
    assert model.parameters.vector[-3] == 5.0
    assert model.loss_and_gradients(inputs, targets, state)[0] != before
    with pytest.raises(CharlstmError, match=r"head\.b must have the shape"):
        model.parameters["head.b"] = np.zeros(4)
    with pytest.raises(CharlstmError, match="no parameter 'nothing'"):
        model.parameters["nothing"] = np.zeros(4)


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (np.zeros(3, int), np.zeros(3, int), r"`inputs` must be of shape \(T, B\)"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), "whole numbers"),
        (np.full((2, 2), 9), np.zeros((2, 2), int), "`inputs` must be 0 to 2, not 9"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "`targets` must be 0 to 2, not -1"),
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "`targets` must have the shape"),
        (np.zeros((0, 2), int), np.zeros((0, 2), int), "`inputs` must not be empty"),
    ],
)
def test_bad_arrays_are_named_in_the_message(inputs, targets, message):
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    with pytest.raises(CharlstmError, match=message):
        model.loss_and_gradients(inputs, targets)


GOOD = np.zeros((3, 2), int)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": GOOD - 1}, "`inputs` must be 0 to 2, not -1"),
        ({"inputs": GOOD + 3}, "`inputs` must be 0 to 2, not 3"),
        ({"inputs": GOOD[0]}, r"`inputs` must be of shape \(T, B\), not \(2,\)"),
        ({"inputs": [[0], [0, 1]]}, r"`inputs` must be an array, not \[\[0\], \[0, 1\]\]"),
        ({"inputs": GOOD[:1]}, r"`activations` must come from new_activations .* \(1, 2\)"),
        ({"state": np.zeros((1, 2, 1, 4))}, r"`state` must be of shape \(1, 2, 2, 4\)"),
        ({"state": "zero"}, "`state` must hold numbers, not 'zero'"),
        ({"activations": 5}, "`activations` must be of type Activations, not 5"),
    ],
)
def test_forward_and_losses_check_their_arguments(change, message):
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    good = {
        "inputs": GOOD,
        "state": model.initial_state(2),
        "activations": model.new_activations(3, 2),
    }
    model.forward(**good)
    with pytest.raises(CharlstmError, match=f"^{message}"):
        model.forward(**good | change)
    targets = np.zeros_like(GOOD[: len(change.get("inputs", GOOD))])
    with pytest.raises(CharlstmError, match=f"^{message}"):
        model.losses(**{**good, "targets": targets, **change})


def test_losses_refuse_targets_that_do_not_fit():
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    for targets, message in (
        (GOOD + 3, "`targets` must be 0 to 2, not 3"),
        (GOOD - 1, "`targets` must be 0 to 2, not -1"),
        (GOOD[:2], r"`targets` must have the shape of `inputs`, \(3, 2\), not \(2, 2\)"),
    ):
        with pytest.raises(CharlstmError, match=f"^{message}"):
            model.losses(GOOD, targets, model.initial_state(2))


def test_the_ids_of_one_step_have_one_dimension():
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    with pytest.raises(CharlstmError, match=r"^`ids` must be of shape \(B,\), not \(3, 2\)"):
        model.step(GOOD, model.initial_state(3))


def test_bad_state_is_named_in_the_message():
    model = CharModel(ModelConfig(hidden=4, layers=1), Vocab.from_text("abc"))
    with pytest.raises(CharlstmError, match=r"`state` must be of shape \(1, 2, 2, 4\)"):
        model.step(np.array([0, 1]), model.initial_state(3))


def test_threads_share_a_model():
    model, *_ = make_model(2, 16, 5, 1, 1, "float32")
    alone = [model.sample(200, seed=seed) for seed in range(4)]
    together = [""] * 4

    def work(seed):
        together[seed] = model.sample(200, seed=seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_model_whose_weights_are_not_finite_is_refused(wrong):
    vocab = Vocab.from_text("abc\n")
    model = CharModel(ModelConfig(hidden=4, lines=True, ngrams=2), vocab)
    model.parameters["layers.0.Wh"][1, 1] = wrong
    for call in (
        lambda: model.sample(5),
        lambda: model.stream(5),
        lambda: model.sample_lines(5),
        lambda: model.score("abc"),
    ):
        with pytest.raises(CharlstmError, match="some of its weights are NaN or infinite"):
            call()
