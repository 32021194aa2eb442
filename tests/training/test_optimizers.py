"""Optimizers: against calculations by hand, and against PyTorch."""

import numpy as np
import pytest
from oracles import relative_error

from charlstm import TrainConfig
from charlstm.training.optimizers import BLOCK, blocks, make_optimizer

N = 40


def run(config, gradients, rates, spans=(slice(0, N),), start=None):
    weights = np.linspace(-2, 2, N) if start is None else start.copy()
    optimizer = make_optimizer(config, weights)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        for span in spans:
            optimizer.update(weights, gradient.copy(), span, rate, step)
    return weights, optimizer.moments


def some_gradients(count=25, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.normal(0, 1, (count, N)) * rng.uniform(0, 3, (count, 1)))


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"optimizer": "adam"}, ("Adam", {"betas": (0.9, 0.999)})),
        ({"optimizer": "adam", "beta1": 0.5, "beta2": 0.9}, ("Adam", {"betas": (0.5, 0.9)})),
        (
            {"optimizer": "adam", "weight_decay": 0.3},
            ("AdamW", {"betas": (0.9, 0.999), "weight_decay": 0.3}),
        ),
        ({"optimizer": "rmsprop", "beta2": 0.95}, ("RMSprop", {"alpha": 0.95})),
        ({"optimizer": "sgd"}, ("SGD", {"momentum": 0.9})),
        ({"optimizer": "sgd", "beta1": 0.0}, ("SGD", {})),
    ],
)
def test_weights_equal_those_of_pytorch_under_changing_rates(options, theirs):
    torch = pytest.importorskip("torch")
    gradients = some_gradients()
    rates = [0.02 / (1 + k / 7) for k in range(len(gradients))]
    ours, _ = run(TrainConfig(**options), gradients, rates)
    parameter = torch.nn.Parameter(torch.linspace(-2, 2, N, dtype=torch.float64))
    name, arguments = theirs
    optimizer = getattr(torch.optim, name)([parameter], lr=1.0, **arguments)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
    assert relative_error(ours, parameter.detach()) < 1e-12


def test_the_first_step_of_adam_is_the_rate_against_the_sign_of_the_gradient():
    gradient = np.where(np.arange(N) % 2, 7.0, -0.01)
    start = np.zeros(N)
    weights, _ = run(TrainConfig(), [gradient], [0.1], start=start)
    assert np.allclose(weights, -0.1 * np.sign(gradient), rtol=1e-5)


def test_two_steps_of_rmsprop_by_hand():
    config = TrainConfig(optimizer="rmsprop", beta2=0.75)
    weights, moments = run(config, [np.full(N, 2.0), np.full(N, 4.0)], [0.1, 0.2], start=np.ones(N))
    # squares 0.25 * 4 = 1, then 0.75 * 1 + 0.25 * 16 = 4.75
    assert np.allclose(moments["square"], 4.75)
    assert np.allclose(weights, 1 - 0.1 * 2 / 1 - 0.2 * 4 / 4.75**0.5)


def test_three_steps_of_sgd_by_hand():
    config = TrainConfig(optimizer="sgd", beta1=0.5)
    weights, moments = run(config, [np.ones(N)] * 3, [1.0, 1.0, 2.0], start=np.zeros(N))
    assert np.allclose(moments["velocity"], 1.75)
    assert np.allclose(weights, -(1 + 1.5 + 2 * 1.75))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_weight_decay_is_decoupled_from_the_gradient(optimizer):
    start = np.linspace(1, 2, N)
    config = TrainConfig(optimizer=optimizer, weight_decay=0.5)
    weights, _ = run(config, [np.zeros(N)] * 2, [0.1, 0.2], start=start)
    assert np.allclose(weights, start * (1 - 0.05) * (1 - 0.1), rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_spans_of_several_workers_give_the_same_bits(optimizer):
    config = TrainConfig(optimizer=optimizer, weight_decay=0.01)
    gradients = some_gradients(5)
    whole, moments = run(config, gradients, [0.01] * 5)
    spans = (slice(0, 7), slice(7, 8), slice(8, N))
    parts, other_moments = run(config, gradients, [0.01] * 5, spans)
    assert whole.tobytes() == parts.tobytes()
    assert all(moments[name].tobytes() == other_moments[name].tobytes() for name in moments)


def test_blocks_cover_a_span_once():
    found = [(block.start, block.stop) for block in blocks(slice(5, 2 * BLOCK + 9))]
    assert found == [(5, BLOCK + 5), (BLOCK + 5, 2 * BLOCK + 5), (2 * BLOCK + 5, 2 * BLOCK + 9)]
    assert list(blocks(slice(3, 3))) == []
