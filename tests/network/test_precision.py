"""The precision of training: how it is chosen, its effect on gradients, and runs in bfloat16."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from corpus_files import make_text
from oracles import relative_error
from run_files import SMALL

import charlstm
from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab, kernels
from charlstm.network.precision import explain_precision, resolve_precision
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import LAST
from charlstm.training.native_step import NativeStep

LSTM, GRU, WIDE = ModelConfig(), ModelConfig(cell="gru"), ModelConfig(dtype="float64")
TEXT = make_text(60)
VOCAB = Vocab.from_text(TEXT)
IDS = VOCAB.encode(TEXT)


@pytest.fixture
def with_amx(monkeypatch):
    """Pretend that this machine has AMX, which makes bfloat16 fast."""
    monkeypatch.setattr(kernels, "fast_bfloat16", lambda: True)


@pytest.fixture
def without_amx(monkeypatch):
    """Pretend that this machine has no instruction that multiplies bfloat16."""
    monkeypatch.setattr(kernels, "fast_bfloat16", lambda: False)
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: False)


# -- the choice -----------------------------------------------------------------------------------


FASTER = "float32 (bfloat16 is faster here, but auto takes it with AMX only)"


@pytest.mark.parametrize(
    ("has", "asked", "model", "precision", "explanation"),
    [
        ("none", "auto", LSTM, "float32", "float32 (bfloat16 is much faster with AMX only)"),
        ("none", "float32", LSTM, "float32", "float32 (bfloat16 is much faster with AMX only)"),
        ("none", "bfloat16", LSTM, "bfloat16", "bfloat16 (chosen; auto would take float32 here)"),
        ("none", "auto", WIDE, "float32", "float64"),
        ("pairs", "auto", LSTM, "float32", FASTER),
        ("pairs", "float32", LSTM, "float32", FASTER),
        ("pairs", "bfloat16", LSTM, "bfloat16", "bfloat16 (chosen; auto would take float32 here)"),
        ("pairs", "auto", GRU, "float32", "float32 (bfloat16 is much faster with AMX only)"),
        ("amx", "auto", LSTM, "bfloat16", "bfloat16 (fast with AMX)"),
        ("amx", "bfloat16", LSTM, "bfloat16", "bfloat16 (fast with AMX)"),
        ("amx", "float32", LSTM, "float32", "float32 (chosen; auto would take bfloat16 here)"),
        ("amx", "auto", GRU, "float32", "float32 (bfloat16 is much faster for LSTMs only)"),
        ("amx", "bfloat16", GRU, "bfloat16", "bfloat16 (chosen; auto would take float32 here)"),
        ("amx", "auto", WIDE, "float32", "float64"),
        ("amx", "float32", WIDE, "float32", "float64"),
    ],
)
def test_choice_and_explanation(monkeypatch, has, asked, model, precision, explanation):
    monkeypatch.setattr(kernels, "fast_bfloat16", lambda: has == "amx")
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: has != "none")
    assert resolve_precision(asked, model) == precision
    assert explain_precision(asked, model) == explanation
    assert explain_precision(precision, model) == explanation


def test_bfloat16_is_fast_only_with_amx():
    assert kernels.fast_bfloat16() == ("(amx" in kernels.DESCRIPTION)
    assert kernels.multiplies_bfloat16() == any(
        f"({name}" in kernels.DESCRIPTION for name in ("amx", "avx512bf16")
    )


def test_bad_precisions_are_refused():
    with pytest.raises(
        CharlstmError, match='`precision="bfloat16"` is for models of float32, not of float64'
    ):
        resolve_precision("bfloat16", WIDE)
    for refused in ("half", "", None, ["float32"]):
        with pytest.raises(CharlstmError, match="`precision` must be one of auto, float32, "):
            resolve_precision(refused, LSTM)
    with pytest.raises(CharlstmError, match="`precision` must be one of auto, float32, "):
        TrainConfig(precision="half")
    model = CharModel(WIDE, VOCAB)
    with pytest.raises(CharlstmError, match='`precision="bfloat16"` is for models of float32'):
        Trainer(model, IDS, TrainConfig(precision="bfloat16"))
    with pytest.raises(CharlstmError, match='`precision="bfloat16"` is for models of float32'):
        model.new_activations(3, 2, precision="bfloat16")


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "bfloat16"), ("float64", "float32")])
def test_trainer_replaces_auto_by_the_precision(with_amx, dtype, expected):
    model = CharModel(ModelConfig(hidden=5, dtype=dtype), VOCAB)
    trainer = Trainer(model, IDS, TrainConfig(batch_size=3, seq_length=6, workers=2))
    trainer.step()
    trainer.close()
    assert trainer.config.precision == expected
    if isinstance(trainer._step, NativeStep):
        assert trainer._step._native._rounded == (expected == "bfloat16")
    else:
        of_workers = trainer._step._activations
        assert len(of_workers) == 2
        for activations in of_workers:
            assert {activations.precision, *(layer.precision for layer in activations.layers)} == {
                expected
            }
    assert model.new_activations(2, 2).precision == "float32"  # as everywhere but in training


# -- gradients -------------------------------------------------------------------------------------


def gradients_of(model, window, precision):
    """The gradient of the mean loss over a window, as one vector of float64."""
    inputs, targets = window[:-1], window[1:]
    activations = model.new_activations(*inputs.shape, precision=precision)
    model.forward(inputs, model.initial_state(inputs.shape[1]), activations)
    gradients = model.parameters.zeros_like()
    model.backward(targets, activations, gradients, 1 / targets.size)
    return gradients.vector.astype(np.float64)


@pytest.mark.parametrize(("cell", "bound"), [("lstm", 0.02), ("gru", 0.02), ("rnn", 0.04)])
def test_gradients_in_bfloat16_are_near_those_in_float64(cell, bound):
    """For a trained model over a window of 50: nearly the same length and direction."""
    model = CharModel(ModelConfig(cell=cell, hidden=32, layers=2), VOCAB)
    config = TrainConfig(
        batch_size=8, seq_length=25, lr=0.01 if cell != "rnn" else 2e-3, precision="float32"
    )
    trainer = Trainer(model, IDS, config)
    losses = [trainer.step() for _ in range(150)]
    trainer.close()
    assert losses[-1] < 0.5 * losses[0]
    exact = CharModel(replace(model.config, dtype="float64"), VOCAB)
    exact.parameters.vector[...] = model.parameters.vector
    window = np.stack([IDS[k : k + 51] for k in range(0, 1600, 200)], axis=1)
    expected = gradients_of(exact, window, "float32")
    assert relative_error(gradients_of(model, window, "float32"), expected) < 1e-4
    found = gradients_of(model, window, "bfloat16")
    cosine = found @ expected / np.linalg.norm(found) / np.linalg.norm(expected)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    print(f"{cell}: relative error {error:.2%}, cosine {cosine:.6f}")
    assert 1e-4 < error < bound and cosine > 0.9995


def test_training_step_uses_its_precision_and_the_model_uses_float32(without_amx):
    model = CharModel(ModelConfig(hidden=16), VOCAB, seed=1)
    config = TrainConfig(batch_size=4, seq_length=10, optimizer="sgd", beta1=0.0, lr=1.0, clip=0.0)
    window = Trainer(model, IDS, config).batches.next_window()
    loss, own, _ = model.loss_and_gradients(window[:-1], window[1:])
    before = model.parameters.vector.copy()
    for precision in ("bfloat16", "float32"):
        model.parameters.vector[...] = before
        expected = gradients_of(model, window, precision)
        trainer = Trainer(model, IDS, replace(config, precision=precision, workers=1))
        assert trainer.step() == pytest.approx(loss, rel=1e-3)
        assert relative_error(before - model.parameters.vector, expected) < 1e-5
        difference = relative_error(own.vector, expected)
        assert difference > 1e-4 if precision == "bfloat16" else difference < 1e-6


# -- runs ------------------------------------------------------------------------------------------

BFLOAT16 = SMALL | {"precision": "bfloat16", "steps": 40}


@pytest.fixture(scope="module")
def runs(text_file, tmp_path_factory):
    """The folder of a run in bfloat16, and a copy of it from after 20 steps."""
    root = tmp_path_factory.mktemp("bfloat16")

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST and event["step"] == 20:
            shutil.copytree(root / "run", root / "half")

    charlstm.train(text_file, root / "run", observer=observe, **BFLOAT16)
    return root / "run", root / "half"


def test_run_in_bfloat16_learns_and_is_evaluated_in_float32(runs, text_file, tmp_path):
    saved = load_checkpoint(runs[0] / LAST)
    assert saved.training["config"]["precision"] == "bfloat16"
    assert saved.training["kernels"] == kernels.DESCRIPTION
    assert {array.dtype.name for array in saved.model.parameters.values()} == {"float32"}
    other = charlstm.train(text_file, tmp_path / "run", **{**BFLOAT16, "precision": "float32"})
    val_loss = load_checkpoint(other.path / LAST).summary["val_loss"]
    difference = abs(saved.summary["val_loss"] - val_loss)
    assert 0 < difference < 0.01 * val_loss
    text = text_file.read_text(encoding="utf-8")
    ids = saved.model.vocab.encode(text[int(len(text) * 0.9) :])
    loss = charlstm.network.scoring.evaluate(saved.model, ids).nats_per_character
    assert loss == pytest.approx(saved.summary["val_loss"], rel=1e-6)


def test_run_in_bfloat16_resumes_bit_for_bit(runs, tmp_path):
    shutil.copytree(runs[1], tmp_path / "run")
    events = []
    charlstm.train(run=tmp_path / "run", resume=True, observer=events.append)
    assert events[0]["notices"] == []
    uninterrupted, resumed = (load_checkpoint(path / LAST) for path in (runs[0], tmp_path / "run"))
    assert resumed.summary["step"] == 40
    vectors = (saved.model.parameters.vector for saved in (uninterrupted, resumed))
    assert len({vector.tobytes() for vector in vectors}) == 1
    assert resumed.arrays.keys() == uninterrupted.arrays.keys()
    for name, array in uninterrupted.arrays.items():
        assert resumed.arrays[name].tobytes() == array.tobytes(), name


def test_run_resumed_with_other_kernels_notes_it(runs, cli, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(runs[1], folder)
    here = kernels.DESCRIPTION
    monkeypatch.setattr(kernels, "DESCRIPTION", "native kernels (of 2040)")
    result = cli("train", "-r", folder, "--resume")
    notice = (
        f"note: the run was begun with {here} and goes on with native kernels (of 2040): "
        "the last digits of losses may differ"
    )
    assert result.stderr.splitlines().count(notice) == 1
    assert "40 steps" in result.stdout
    saved = load_checkpoint(folder / LAST).training
    assert (saved["kernels"], saved["config"]["precision"]) == (kernels.DESCRIPTION, "bfloat16")
    monkeypatch.undo()
    assert "note: " not in cli("train", "-r", folder, "--resume").stderr  # which is finished


def test_precision_of_a_resumed_run_cannot_be_changed(runs):
    with pytest.raises(CharlstmError, match="`precision` comes from the run that is resumed"):
        charlstm.train(run=runs[1], resume=True, precision="float32")


def test_fine_tuning_has_a_precision_of_its_own(without_amx, runs, text_file, tmp_path):
    events = []
    options = {"init_from": runs[0], "steps": 1, "observer": events.append}
    charlstm.train(text_file, tmp_path / "a", **options)
    charlstm.train(text_file, tmp_path / "b", precision="bfloat16", **options)
    starts = [event for event in events if event["event"] == "start"]
    assert [event["config"]["precision"] for event in starts] == ["float32", "bfloat16"]


def test_bfloat16_with_float64_is_refused_before_any_write(cli, text_file, tmp_path, with_amx):
    folder = tmp_path / "run"
    arguments = ("train", text_file, "-r", folder, "--dtype", "float64", "--steps", 1)
    result = cli(*arguments, "--precision", "bfloat16", code=2)
    assert result.stderr == (
        "charlstm: --precision bfloat16 is for models of float32, not of float64\n"
    )
    assert not folder.exists()
    shown = cli(*arguments, "--hidden", 3, "--verbose").stderr
    assert f"Computed with {kernels.DESCRIPTION}, float64, " in shown


@pytest.mark.parametrize("asked", ["auto", "float32", "bfloat16"])
def test_train_and_info_explain_the_precision(cli, text_file, tmp_path, with_amx, asked):
    explanation = "float32 (chosen; auto would take bfloat16 here)"
    if asked != "float32":
        explanation = "bfloat16 (fast with AMX)"
    folder = tmp_path / "run"
    arguments = ("--steps", 1, "--hidden", 3, "--workers", 2, "--precision", asked)
    result = cli("train", text_file, "-r", folder, *arguments, "--verbose")
    computed = f"Computed with {kernels.DESCRIPTION}, {explanation}, 2 workers, "
    assert computed in result.stderr
    about = json.loads(cli("info", folder, "--json").stdout)
    assert (about["kernels"], about["precision"]) == (kernels.DESCRIPTION, explanation)
    assert about["training"]["precision"] == explanation.split()[0]
    assert f"precision     {explanation}\n" in cli("info", folder).stdout
    best = json.loads(cli("info", folder / "best.safetensors", "--json").stdout)
    assert best["precision"] == "bfloat16 (fast with AMX)"  # the precision of a new training


def test_info_without_a_run_shows_kernels_and_precision(cli, tmp_path, monkeypatch, without_amx):
    monkeypatch.chdir(tmp_path)
    hint = (
        "no run under runs/: name the folder of a run with -r, or begin a run with charlstm train\n"
    )
    result = cli("info")
    assert result.stderr == hint
    assert result.stdout == (
        f"kernels        {kernels.DESCRIPTION}\n"
        "precision      float32 (bfloat16 is much faster with AMX only)\n"
    )
    result = cli("info", "--json")
    assert result.stderr == hint
    assert json.loads(result.stdout) == {
        "kernels": kernels.DESCRIPTION,
        "precision": "float32 (bfloat16 is much faster with AMX only)",
    }
