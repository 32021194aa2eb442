"""A run from its beginning to its end: its files, its metrics, and which weights are the best."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from run_files import (
    BEST,
    LAST,
    SMALL,
    arrays_of,
    assert_equal_runs,
    average_of,
    events_of,
    weights_of,
)
from safetensors.numpy import load_file

import charlstm
from charlstm.network.scoring import evaluate
from charlstm.runs.checkpoint import load_checkpoint


def validation_loss(model, text_path):
    """The loss of a model on the last tenth of a text, in nats a character."""
    text = text_path.read_text(encoding="utf-8")
    return evaluate(model, model.vocab.encode(text)[int(len(text) * 0.9) :]).nats_per_character


def test_the_small_run_is_hard_to_resume(uninterrupted):
    """Otherwise the tests of resumption would prove little."""
    assert sorted(uninterrupted.copies) == [0, 10, 20, 30, 40, 50, 60]
    assert events_of(uninterrupted.folder)[-1]["epoch"] >= 3
    bests = [event["is_best"] for event in events_of(uninterrupted.folder, "eval")]
    assert bests.count(True) >= 2 and not bests[-1]
    rates = {event["learning_rate"] for event in events_of(uninterrupted.folder, "train")}
    assert len(rates) >= 2
    names = load_file(uninterrupted.folder / LAST)
    assert {name for name in names if name.startswith("training.")} == {
        "training.moments.mean",
        "training.moments.square",
        "training.moments.ngrams",
        "training.state",
        "training.average",
    }
    config = load_checkpoint(uninterrupted.folder / LAST).training["config"]
    assert config["workers"] == 2
    assert (config["dropout"], config["weight_dropout"]) == (0.2, 0.1)


def test_metrics_are_as_documented(uninterrupted):
    events = events_of(uninterrupted.folder)
    kinds = {"start", "train", "eval", "sample", "save", "stop"}
    assert {event["event"] for event in events} == kinds
    common = {"event", "step", "epoch", "seconds"}
    measured = {
        "train": {"train_loss", "learning_rate", "gradient_norm", "characters_per_second"},
        "eval": {"train_loss", "val_loss"},
        "stop": {"reason", "best_val_loss", "best_step", "warnings"},
    }
    for event in events:
        assert common | measured.get(event["event"], set()) <= set(event)
    assert [e["step"] for e in events if e["event"] == "eval"] == [10, 20, 30, 40, 50, 60]
    assert [e["step"] for e in events if e["event"] == "train"] == list(range(1, 61))
    assert events[0]["event"] == "start" and events[-1]["event"] == "stop"
    assert events[0]["format"] == 1
    assert [e["event"] for e in events].count("stop") == 1
    seconds = [event["seconds"] for event in events]
    assert seconds == sorted(seconds)
    losses = [e["val_loss"] for e in events if e["event"] == "eval"]
    assert events[-1]["best_val_loss"] == min(losses)
    per_step = [e["train_loss"] for e in events if e["event"] == "train"]
    for k, event in enumerate(e for e in events if e["event"] == "eval"):
        assert event["train_loss"] == pytest.approx(np.mean(per_step[10 * k : 10 * k + 10]))


def test_best_holds_the_weights_of_the_lowest_validation_loss(uninterrupted, overfitting_text):
    folder, copies = uninterrupted
    best = min(events_of(folder, "eval"), key=lambda event: event["val_loss"])
    assert best["weights"] == "average"
    assert weights_of(folder / BEST) == average_of(copies[best["step"]] / LAST)
    assert load_checkpoint(folder / BEST).summary["weights"] == "average"
    loss = validation_loss(charlstm.load(folder), overfitting_text)
    assert loss == pytest.approx(best["val_loss"], rel=1e-6)


def test_averaged_weights_are_evaluated_and_at_the_end_the_last_weights_too(
    uninterrupted, overfitting_text
):
    evaluations = events_of(uninterrupted.folder, "eval")
    assert [set(event["val_losses"]) for event in evaluations] == 5 * [{"average"}] + [
        {"average", "last"}
    ]
    for event in evaluations:
        assert event["val_loss"] == min(event["val_losses"].values())
        assert event["val_losses"][event["weights"]] == event["val_loss"]
    saved = load_checkpoint(uninterrupted.copies[60] / LAST)
    for name, vector in ("last", None), ("average", saved.arrays["average"]):
        if vector is not None:
            saved.model.parameters.vector[:] = vector
        loss = validation_loss(saved.model, overfitting_text)
        assert loss == pytest.approx(evaluations[-1]["val_losses"][name], rel=1e-6)


@pytest.mark.parametrize(
    ("average", "steps", "lr", "better"),
    [(0.0, 30, 0.003, "last"), (0.99, 30, 0.003, "last"), (0.99, 200, 0.03, "average")],
)
def test_best_is_the_better_of_the_average_and_the_last_weights(
    text_file, tmp_path, average, steps, lr, better
):
    """The last weights are better while they move fast, the average where the rate stays high."""
    changes = {"average": average, "steps": steps, "eval_every": steps, "lr": lr, "dropout": 0.0}
    changes["ngrams"] = 0  # the average shares the table
    run = charlstm.train(
        text_file,
        tmp_path / "run",
        **{**SMALL, **changes, "schedule": "constant", "patience": None},
    )
    (event,) = events_of(run.path, "eval")
    assert event["weights"] == better and run.best_val_loss == event["val_loss"]
    saved = load_checkpoint(run.path / LAST)
    vector = {"last": saved.model.parameters.vector, "average": saved.arrays.get("average")}[better]
    best = load_checkpoint(run.path / BEST)
    assert best.model.parameters.vector.tobytes() == vector.tobytes()
    assert best.summary["weights"] == better
    assert saved.summary["weights"] == "last"


def test_only_best_and_last_are_kept_by_default(uninterrupted):
    names = {path.name for path in uninterrupted.folder.iterdir()}
    assert names == {BEST, LAST, "metrics.jsonl", "report.html"}


def test_keep_every_keeps_more_checkpoints(uninterrupted, overfitting_text, tmp_path):
    settings = {**SMALL, "steps": 25, "keep_every": 10}
    run = charlstm.train(overfitting_text, tmp_path / "run", **settings)
    kept = sorted(path.name for path in run.path.glob("step-*"))
    assert kept == ["step-000010.safetensors", "step-000020.safetensors"]
    assert charlstm.load(run.path / kept[0]).vocab == run.model.vocab
    assert weights_of(run.path / kept[0]) == average_of(uninterrupted.copies[10] / LAST)


def test_the_seed_is_saved_and_determines_the_run(uninterrupted, overfitting_text, tmp_path):
    saved = load_checkpoint(uninterrupted.folder / LAST)
    assert saved.training["config"]["seed"] == 3
    again = charlstm.train(overfitting_text, tmp_path / "again", **SMALL)
    assert_equal_runs(again.path, uninterrupted.folder)
    settings = {**SMALL, "seed": 4, "steps": 10}
    other = charlstm.train(overfitting_text, tmp_path / "other", **settings)
    assert arrays_of(other.path / LAST) != arrays_of(uninterrupted.copies[10] / LAST)


def test_a_sample_is_drawn_at_each_evaluation_from_the_weights_that_it_measures(
    uninterrupted, overfitting_text, tmp_path, monkeypatch
):
    written = [event["text"] for event in events_of(uninterrupted.folder, "sample")]
    best = min(events_of(uninterrupted.folder, "eval"), key=lambda event: event["val_loss"])["step"]
    model = charlstm.load(uninterrupted.folder)
    assert written[best // 10 - 1] == model.sample(150, seed=best)
    monkeypatch.setattr(charlstm.CharModel, "sample", lambda *arguments, **options: "")
    without = charlstm.train(overfitting_text, tmp_path / "without", **SMALL)
    assert_equal_runs(without.path, uninterrupted.folder)


def test_without_validation_text_best_is_the_latest(text_file, tmp_path):
    events = []
    settings = {**SMALL, "steps": 20, "val_frac": 0}
    run = charlstm.train(text_file, tmp_path / "run", observer=events.append, **settings)
    assert run.best_val_loss is None
    assert any("no validation text" in notice for notice in events[0]["notices"])
    assert events[0]["validation_characters"] == 0
    assert weights_of(run.path / BEST) == average_of(run.path / LAST)
    plain = charlstm.train(text_file, tmp_path / "plain", **{**settings, "average": 0.0})
    assert weights_of(plain.path / BEST) == weights_of(plain.path / LAST)
    stop = events_of(run.path)[-1]
    assert (stop["event"], stop["best_val_loss"]) == ("stop", None)


def test_a_run_may_be_moved(uninterrupted, tmp_path, monkeypatch):
    shutil.copytree(uninterrupted.copies[30], tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    run = charlstm.train(run="elsewhere", resume=True)
    assert run.path == Path("elsewhere")
    assert_equal_runs(tmp_path / "elsewhere", uninterrupted.folder)
