"""--textbook: the network that a run trains is the one on the blackboard."""

import json

import numpy as np
import pytest
from run_files import events_of

import charlstm
from charlstm import CharlstmError
from charlstm.config import TEXTBOOK, ModelConfig, RunConfig, TrainConfig, beyond_textbook
from charlstm.network.textbook_cells import lstm_forward

TINY = {"hidden": 5, "steps": 3, "batch_size": 4, "seq_length": 8, "workers": 1}


def softmax(a):
    exp = np.exp(a - a.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


def test_a_textbook_run_computes_the_equations_of_the_textbook_cells(text_file, tmp_path):
    run = charlstm.train(text_file, tmp_path / "run", textbook=True, layers=2, **TINY)
    model, text = run.model, "the cat sat on the mat"
    p = model.parameters
    ids = model.vocab.encode("\n" + text)  # a score predicts the first character from a line end
    outputs = np.eye(len(model.vocab))[ids][None]  # one-hot, (1, T, V)
    for layer in range(2):
        weights = (np.float64(p[f"layers.{layer}.{name}"]) for name in ("Wx", "Wh", "b"))
        outputs, *_ = lstm_forward(outputs, np.zeros((1, 5)), *weights)
    probabilities = softmax(outputs @ np.float64(p["head.W"]) + np.float64(p["head.b"]))[0]
    expected = -np.log(probabilities[np.arange(len(text)), ids[1:]])
    np.testing.assert_allclose(model.score(text).nats, expected, rtol=1e-4)


def test_a_textbook_run_leaves_out_what_a_run_adds(text_file, tmp_path, cli):
    charlstm.train(text_file, tmp_path / "plain", textbook=True, **TINY)
    start = events_of(tmp_path / "plain")[0]
    settings = start["model"] | start["config"]
    assert {name: settings[name] for name in TEXTBOOK} == TEXTBOOK
    about = json.loads(cli("info", tmp_path / "plain", "--json").stdout)
    assert about["beyond_textbook"] == {}
    charlstm.train(text_file, tmp_path / "usual", **TINY)
    about = json.loads(cli("info", tmp_path / "usual", "--json").stdout)
    assert (
        about["beyond_textbook"].items() >= {"capped": True, "ngrams": 6, "average": 0.998}.items()
    )
    best = json.loads(cli("info", tmp_path / "usual" / "best.safetensors", "--json").stdout)
    assert best["beyond_textbook"] == {"capped": True, "ngrams": 6}


def test_an_option_beside_textbook_adds_one_thing(cli, text_file, tmp_path):
    sizes = ("--hidden", 5, "--steps", 2, "--workers", 1)
    cli("train", text_file, "-r", tmp_path / "r", "--textbook", "--capped", "--lines", *sizes)
    assert json.loads(cli("info", tmp_path / "r", "--json").stdout)["beyond_textbook"] == {
        "capped": True
    }
    assert "beyond the textbook: capped gates\n" in cli("info", tmp_path / "r").stdout


def test_textbook_is_refused_with_resume(trained):
    with pytest.raises(CharlstmError, match=r"leave out .* `textbook`"):
        charlstm.train(run=trained, resume=True, textbook=True)


def test_a_preset_does_not_count_as_given_for_options_without_effect():
    preset = RunConfig.asked({"lines": True}, TEXTBOOK)
    assert (preset.train.reset, preset.model.lines) == (0.0, True)
    with pytest.raises(CharlstmError, match="`reset` has no effect with `lines=True`"):
        RunConfig.asked({"lines": True, "reset": 0.0}, TEXTBOOK)


def test_dropout_between_layers_is_beyond_a_textbook_only_between_layers():
    train = TrainConfig(dropout_between=0.2)
    assert beyond_textbook(ModelConfig(layers=1), train) == {}
    assert beyond_textbook(ModelConfig(layers=2), train) == {"dropout_between": 0.2}
