"""The scripts of scripts/exercises: what they compute, and that each runs and prints it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXERCISES = Path(__file__).resolve().parents[2] / "scripts" / "exercises"


def exercise(name):
    spec = importlib.util.spec_from_file_location(name, EXERCISES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed_by(name):
    command = [sys.executable, str(EXERCISES / f"{name}.py")]
    return subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", check=True
    ).stdout


# -- classify_direction -----------------------------------------------------------------------


def test_a_stack_of_three_layers_is_as_good_a_classifier_as_there_can_be():
    direction = exercise("classify_direction")
    model = direction.train(1500)
    mine, best = direction.accuracies(model)
    exact = 1 - np.exp(-direction.T / (4 * direction.SIGMA**2)) / 2
    print(f"best by the formula {exact:.2%}, on the test series {best:.2%}, the stack {mine:.2%}")
    assert best == pytest.approx(exact, abs=0.006)  # 4 standard deviations of 20,000 trials
    assert best - 0.02 < mine <= best + 0.005


def test_the_classifier_s_gradients_are_right():
    """Along a random direction, of all parameters at once, in float32."""
    direction = exercise("classify_direction")
    rng = np.random.default_rng(0)
    model = direction.Classifier(rng)
    x, targets = direction.series(rng, 8)
    gradients = model.parameters.like()
    log_probs, cache = model.forward(x)
    model.backward(targets, log_probs, cache, gradients)
    weights = model.parameters.vector.copy()
    way = gradients.vector / np.linalg.norm(gradients.vector)
    losses = []
    for step in (1e-2, -1e-2):
        model.parameters.vector[...] = weights + step * way
        log_probs, _ = model.forward(x)
        losses.append(float(direction.cross_entropy(log_probs, targets).mean(dtype=np.float64)))
    slope = (losses[0] - losses[1]) / 2e-2
    assert slope == pytest.approx(np.linalg.norm(gradients.vector), rel=1e-3)


# -- hand_set_gates ---------------------------------------------------------------------------

AS_PUBLISHED = [0, 0, 0, 0, 0, 0.642, 0, 0, 0.642]
AS_MEANT = [0, 0, 0, 0, 0, 0.964, 0, 0, 0.762]


def test_hand_set_gates_linear():
    memory, outputs = exercise("hand_set_gates").linear_cell()
    assert memory == pytest.approx([0, 0, 3, 3, 7, 7, 7, 0, 6], abs=1e-3)
    assert outputs == pytest.approx([0, 0, 0, 0, 0, 7, 0, 0, 6], abs=1e-3)


@pytest.mark.parametrize(
    ("rows", "expected"), [("PUBLISHED", AS_PUBLISHED), ("UNSWAPPED", AS_MEANT)]
)
def test_hand_set_gates_with_tanh(rows, expected):
    gates = exercise("hand_set_gates")
    rows = getattr(gates, rows)
    steps = gates.step_by_step(rows)
    assert steps == pytest.approx(expected, abs=1e-3)
    assert gates.layer(rows) == pytest.approx(steps, abs=1e-12)


@pytest.mark.parametrize("rows", ["PUBLISHED", "UNSWAPPED"])
def test_hand_set_gates_equal_pytorch(rows):
    pytest.importorskip("torch")
    gates = exercise("hand_set_gates")
    rows = getattr(gates, rows)
    for theirs in gates.pytorch(rows):
        assert gates.step_by_step(rows) == pytest.approx(theirs, abs=1e-12)


def test_the_published_rows_are_those_of_the_exercise():
    rows = exercise("hand_set_gates").PUBLISHED
    assert [rows[gate] for gate in "ifgo"] == [
        (0, 100, 0, 10),
        (0, 100, 0, -10),
        (1, 0, 0, 0),
        (0, 0, 100, -10),
    ]


# -- check_gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_are_checked_against_numeric_ones(cell, form):
    assert 0 < exercise("check_gradients").against_numbers(cell, form) < 1e-7


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_are_checked_against_pytorch(cell):
    pytest.importorskip("torch")
    assert exercise("check_gradients").against_pytorch(cell) < 1e-10


# -- what they print --------------------------------------------------------------------------


def test_hand_set_gates_prints_both_and_says_why():
    lines = printed_by("hand_set_gates").splitlines()
    steps = [line.split()[1:] for line in lines if line.startswith("  cells.lstm_step_forward")]
    assert [[float(value) for value in row] for row in steps] == [AS_PUBLISHED, AS_MEANT]
    assert "i f g o" in " ".join(lines)
    assert "forget gate the weights meant for the input gate" in " ".join(lines)


def test_vanishing_gradients_prints_its_tables():
    lines = printed_by("vanishing_gradients").splitlines()
    first = next(line for line in lines if line.startswith("LSTM, forget bias 5"))
    assert first.endswith("> 500")
    exploding = [line for line in lines if line.startswith("RNN, Wh × 2")][-1].split()
    assert float(exploding[-2]) > 1e4
    assert float(exploding[-1]) == 5


def test_check_gradients_prints_every_cell():
    lines = printed_by("check_gradients").splitlines()
    for cell in ("rnn", "gru", "lstm"):
        for form in ("step", "sequence"):
            (line,) = (x for x in lines if x.startswith(f"{cell:5} {form:9} against numeric"))
            assert float(line.split()[-1]) < 1e-7
