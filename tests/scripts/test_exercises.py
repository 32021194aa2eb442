"""scripts/exercises: the values of scripts/exercises/README.md, and that each script runs."""

import math
import subprocess
import sys
from pathlib import Path

import check_gradients
import classify_direction
import hand_set_gates
import learn_words
import numpy as np
import pytest
import vanishing_gradients

import charlstm
from charlstm.text.corpus import open_corpus

ROOT = Path(__file__).resolve().parents[2]
EXERCISES = ROOT / "scripts" / "exercises"


# -- check_gradients --------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_gradients_equal_numeric_gradients(cell, form):
    """3e-10 at most here."""
    assert 0 < check_gradients.error_to_numeric_gradients(cell, form) < 1e-9


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_states_and_gradients_equal_those_of_pytorch(cell):
    """6e-16 at most here; the order of a sum changes the last places."""
    pytest.importorskip("torch")
    assert check_gradients.error_to_pytorch(cell) < 1e-14


def test_the_errors_of_all_cells_are_printed(capsys):
    check_gradients.main()
    lines = capsys.readouterr().out.splitlines()
    for cell in ("rnn", "gru", "lstm"):
        for form in ("step", "sequence"):
            (line,) = (x for x in lines if x.startswith(f"{cell:5} {form:9} against numeric"))
            assert float(line.split()[-1]) < 1e-9


# -- classify_direction -----------------------------------------------------------------------


def test_the_best_possible_decision_is_right_as_often_as_its_formula_says():
    x, direction = classify_direction.series(np.random.default_rng(1), 20_000)
    best = float((classify_direction.best_decision(x) == direction).mean())
    assert best == pytest.approx(0.9519, abs=5e-5)
    assert pytest.approx(0.9531, abs=5e-5) == classify_direction.BEST_POSSIBLE
    # 4 standard deviations of 20,000 trials
    assert best == pytest.approx(classify_direction.BEST_POSSIBLE, abs=0.006)


def test_a_short_training_of_the_classifier_nears_the_best_possible():
    share, best = classify_direction.accuracies(classify_direction.train(200))
    assert best == pytest.approx(0.9519, abs=5e-5)
    assert share == pytest.approx(0.9108, abs=0.005)


@pytest.mark.slow
def test_the_classifier_is_right_in_95_06_percent_after_its_full_training():
    """Under NumPy and all native kernels alike; the rest is allowed for other processors."""
    share, best = classify_direction.accuracies(classify_direction.train(classify_direction.STEPS))
    assert best == pytest.approx(0.9519, abs=5e-5)
    assert share == pytest.approx(0.9506, abs=0.001)


def test_the_gradients_of_the_classifier_are_right():
    """Along the direction of the gradient of all parameters, in float32."""
    rng = np.random.default_rng(0)
    model = classify_direction.Classifier(rng)
    x, targets = classify_direction.series(rng, 8)
    gradients = model.parameters.zeros_like()
    log_probs, cache = model.forward(x)
    model.backward(targets, log_probs, cache, gradients)
    weights = model.parameters.vector.copy()
    way = gradients.vector / np.linalg.norm(gradients.vector)
    losses = []
    for step in (1e-2, -1e-2):
        model.parameters.vector[...] = weights + step * way
        log_probs, _ = model.forward(x)
        nats = classify_direction.cross_entropy(log_probs, targets)
        losses.append(float(nats.mean(dtype=np.float64)))
    slope = (losses[0] - losses[1]) / 2e-2
    assert slope == pytest.approx(np.linalg.norm(gradients.vector), rel=1e-3)


# -- hand_set_gates ---------------------------------------------------------------------------

PUBLISHED_OUTPUTS = [0, 0, 0, 0, 0, 0.642, 0, 0, 0.642]
EXCHANGED_OUTPUTS = [0, 0, 0, 0, 0, 0.964, 0, 0, 0.762]


def test_the_linear_cell_with_hand_set_gates_remembers():
    memory, outputs = hand_set_gates.linear_cell()
    assert memory == pytest.approx([0, 0, 3, 3, 7, 7, 7, 0, 6], abs=1e-3)
    assert outputs == pytest.approx([0, 0, 0, 0, 0, 7, 0, 0, 6], abs=1e-3)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (hand_set_gates.PUBLISHED, PUBLISHED_OUTPUTS),
        (hand_set_gates.EXCHANGED, EXCHANGED_OUTPUTS),
    ],
    ids=["published", "exchanged"],
)
def test_the_cell_with_hand_set_gates_gives_0_642_as_published_and_0_964_exchanged(rows, expected):
    steps = hand_set_gates.step_by_step(rows)
    assert steps == pytest.approx(expected, abs=1e-3)
    assert hand_set_gates.layer(rows) == pytest.approx(steps, abs=1e-12)


@pytest.mark.parametrize("rows", ["PUBLISHED", "EXCHANGED"])
def test_the_cell_with_hand_set_gates_equals_pytorch(rows):
    pytest.importorskip("torch")
    rows = getattr(hand_set_gates, rows)
    for outputs in hand_set_gates.pytorch(rows):
        assert hand_set_gates.step_by_step(rows) == pytest.approx(outputs, abs=1e-12)


def test_the_published_rows_are_those_of_the_exercise():
    rows = hand_set_gates.PUBLISHED
    assert [rows[gate] for gate in "ifgo"] == [
        (0, 100, 0, 10),
        (0, 100, 0, -10),
        (1, 0, 0, 0),
        (0, 0, 100, -10),
    ]


def test_the_outputs_of_both_orders_are_printed_and_explained(capsys):
    hand_set_gates.main()
    lines = capsys.readouterr().out.splitlines()
    steps = [line.split()[1:] for line in lines if line.startswith("  lstm_step_forward")]
    outputs = [[float(value) for value in row] for row in steps]
    assert outputs == [PUBLISHED_OUTPUTS, EXCHANGED_OUTPUTS]
    assert "i f g o" in " ".join(lines)
    assert "the forget gate has the weights that are meant for the input gate" in " ".join(lines)


# -- learn_words ------------------------------------------------------------------------------


def test_the_loss_per_word_falls_in_each_epoch():
    text = ROOT / "corpora/play.txt"
    words = len(open_corpus([text], level="word").vocab)
    first, *later = learn_words.learn(text, "rnn", epochs=2, lines=20)
    assert words < learn_words.VOCABULARY
    assert first == pytest.approx(np.log(words), abs=0.05)
    assert first > later[0] > later[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "losses"), [("lstm", [8.99, 7.84, 7.04, 6.60]), ("rnn", [9.02, 6.53, 5.96, 5.70])]
)
def test_the_losses_per_word_of_three_epochs_are_those_of_the_readme(cell, losses):
    """Under NumPy and native kernels alike, to two decimals."""
    text = learn_words.find_text()
    if text is None:
        pytest.skip("there is no tiny Shakespeare here: see scripts/corpora/download.py")
    assert learn_words.learn(text, cell) == pytest.approx(losses, abs=0.006)


def test_a_missing_text_is_refused_in_one_line_that_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(learn_words, "PLACES", (tmp_path / "tinyshakespeare.txt",))
    monkeypatch.setattr(sys, "argv", ["learn_words.py"])
    with pytest.raises(SystemExit) as stop:
        learn_words.main()
    assert "scripts/corpora/download.py tinyshakespeare" in stop.value.code
    assert "\n" not in stop.value.code


def test_the_text_in_data_is_preferred_to_the_shared_one(tmp_path, monkeypatch):
    own, shared = tmp_path / "own.txt", tmp_path / "shared.txt"
    monkeypatch.setattr(learn_words, "PLACES", (own, shared))
    shared.write_text("shared")
    assert learn_words.find_text() == shared
    own.write_text("own")
    assert learn_words.find_text() == own


# -- vanishing_gradients ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def flows():
    return {flow.label: flow for flow in vanishing_gradients.measure()}


@pytest.mark.parametrize(
    ("label", "steps"),
    [
        ("RNN, Wh × 0.58", 14),
        ("RNN", 142),
        ("GRU", 43),
        ("LSTM, forget bias 1", 400),
        ("LSTM, forget bias 5", None),
    ],
)
def test_a_thousandth_of_the_gradient_is_left_after_the_steps_of_the_readme(flows, label, steps):
    """None: it is not reached within 500 steps."""
    assert len(flows[label].norms["dh"]) == 500
    assert flows[label].gone_at("dh") == steps


def test_the_gradient_of_wide_recurrent_weights_explodes_and_is_clipped(flows):
    step = flows["RNN, Wh × 2"].step
    assert step.norm > 1e4
    assert step.clipped == pytest.approx(5)


def test_the_steps_of_each_cell_are_printed(flows, capsys, monkeypatch):
    monkeypatch.setattr(vanishing_gradients, "measure", lambda: list(flows.values()))
    vanishing_gradients.main()
    lines = capsys.readouterr().out.splitlines()
    first = next(line for line in lines if line.startswith("LSTM, forget bias 5"))
    assert first.endswith("> 500")
    exploding = [line for line in lines if line.startswith("RNN, Wh × 2")][-1].split()
    assert float(exploding[-2]) > 1e4
    assert float(exploding[-1]) == 5


# -- all --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in EXERCISES.glob("*.py")))
def test_each_exercise_runs_as_a_script(name):
    text = [ROOT / "corpora/play.txt", "--epochs", "1"] if name == "learn_words.py" else []
    done = subprocess.run(
        [sys.executable, EXERCISES / name, *text], capture_output=True, text=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


# -- the textbook's network on reber.txt ------------------------------------------------------


@pytest.mark.slow
def test_an_lstm_of_8_units_remembers_the_letter_that_an_rnn_of_8_units_forgets(tmp_path):
    """A model that knows the grammar but forgets the letter needs 0.538 + 1/13 = 0.615 bits."""
    bits = {}
    for cell in ("lstm", "rnn"):
        run = charlstm.train(
            ROOT / "corpora" / "reber.txt", tmp_path / cell, textbook=True, cell=cell, lines=True,
            val_split="end", layers=1, hidden=8, steps=3000, precision="float32", workers=1,
        )  # fmt: skip
        bits[cell] = run.best_val_loss / math.log(2)
    assert 0.538 < bits["lstm"] < 0.56
    assert 0.615 < bits["rnn"] < 0.67
