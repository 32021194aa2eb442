"""Runs: what a folder holds, and that resumption from any moment is as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpus_files import make_text
from run_files import (
    BEST,
    LAST,
    SMALL,
    Killed,
    arrays_of,
    assert_as_whole,
    average_of,
    copied_at_each_save,
    events_of,
    history,
    weights_of,
)
from safetensors.numpy import load_file

import charlstm
from charlstm import CharlstmError
from charlstm.config import RunConfig
from charlstm.network.model import copy_weights
from charlstm.runs import saver
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.start import begin_run, resume_run

# -- what a run leaves ---------------------------------------------------------------------------


def test_the_small_run_is_hard_to_resume(whole):
    """Else the tests below would show little: passes, several bests, decays of the rate."""
    folder, copies = whole
    assert sorted(copies) == [0, 10, 20, 30, 40, 50, 60]
    events = events_of(folder)
    assert events[-1]["epoch"] >= 3
    bests = [event["is_best"] for event in events if event["event"] == "eval"]
    assert bests.count(True) >= 2 and not bests[-1]
    assert len({event["learning_rate"] for event in events if event["event"] == "train"}) >= 2
    assert {name for name in load_file(folder / LAST) if name.startswith("training.")} == {
        "training.moments.mean",
        "training.moments.square",
        "training.moments.ngrams",
        "training.state",
        "training.average",
    }
    config = load_checkpoint(folder / LAST).training["config"]
    assert config["workers"] == 2
    assert (config["dropout"], config["weight_dropout"]) == (0.2, 0.1)


def test_metrics_are_as_documented(whole):
    folder, _ = whole
    events = events_of(folder)
    assert {event["event"] for event in events} == {"start", "train", "eval", "save", "stop"}
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
    assert [e["event"] for e in events].count("stop") == 1
    seconds = [event["seconds"] for event in events]
    assert seconds == sorted(seconds)
    losses = [e["val_loss"] for e in events if e["event"] == "eval"]
    assert events[-1]["best_val_loss"] == min(losses)
    per_step = [e["train_loss"] for e in events if e["event"] == "train"]
    for k, event in enumerate(e for e in events if e["event"] == "eval"):
        assert event["train_loss"] == pytest.approx(np.mean(per_step[10 * k : 10 * k + 10]))


def test_best_holds_the_weights_of_the_lowest_validation_loss(whole, hard_text):
    folder, copies = whole
    evaluations = [event for event in events_of(folder) if event["event"] == "eval"]
    best = min(evaluations, key=lambda event: event["val_loss"])
    assert best["weights"] == "average"
    assert weights_of(folder / BEST) == average_of(copies[best["step"]] / LAST)
    assert load_checkpoint(folder / BEST).summary["weights"] == "average"
    model, text = charlstm.load(folder), hard_text.read_text(encoding="utf-8")
    ids = model.vocab.encode(text)[int(len(text) * 0.9) :]
    loss = charlstm.network.scoring.evaluate(model, ids).nats_per_character
    assert loss == pytest.approx(best["val_loss"], rel=1e-6)


def test_averaged_weights_are_evaluated_and_at_the_end_the_last_ones_too(whole, hard_text):
    folder, copies = whole
    evaluations = [event for event in events_of(folder) if event["event"] == "eval"]
    assert [set(event["val_losses"]) for event in evaluations] == 5 * [{"average"}] + [
        {"average", "last"}
    ]
    for event in evaluations:
        assert event["val_loss"] == min(event["val_losses"].values())
        assert event["val_losses"][event["weights"]] == event["val_loss"]
    text = hard_text.read_text(encoding="utf-8")
    saved = load_checkpoint(copies[60] / LAST)
    ids = saved.model.vocab.encode(text)[int(len(text) * 0.9) :]
    for name, vector in ("last", None), ("average", saved.arrays["average"]):
        if vector is not None:
            saved.model.parameters.vector[:] = vector
        loss = charlstm.network.scoring.evaluate(saved.model, ids).nats_per_character
        assert loss == pytest.approx(evaluations[-1]["val_losses"][name], rel=1e-6)


@pytest.mark.parametrize(
    ("average", "steps", "lr", "better"),
    [(0.0, 30, 0.003, "last"), (0.99, 30, 0.003, "last"), (0.99, 200, 0.03, "average")],
)
def test_best_is_the_better_of_the_average_and_the_last_weights(
    text_file, tmp_path, average, steps, lr, better
):
    """Weights that still move fast favour the one, a rate that stays high the other."""
    changes = {"average": average, "steps": steps, "eval_every": steps, "lr": lr, "dropout": 0.0}
    changes["ngrams"] = 0  # the average shares the table
    run = charlstm.train(
        text_file, tmp_path / "run", **{**SMALL, **changes, "schedule": "constant"}
    )
    event = next(event for event in events_of(run.path) if event["event"] == "eval")
    assert event["weights"] == better and run.best_val_loss == event["val_loss"]
    saved = load_checkpoint(run.path / LAST)
    vector = {"last": saved.model.parameters.vector, "average": saved.arrays.get("average")}[better]
    assert load_checkpoint(run.path / BEST).model.parameters.vector.tobytes() == vector.tobytes()
    assert load_checkpoint(run.path / BEST).summary["weights"] == better
    assert load_checkpoint(run.path / LAST).summary["weights"] == "last"


def test_checkpoints_do_not_fill_the_disk(whole):
    """Best and last only, unless asked."""
    assert {path.name for path in whole[0].iterdir()} == {BEST, LAST, "metrics.jsonl"}


def test_keep_every_keeps_more(whole, hard_text, tmp_path):
    run = charlstm.train(hard_text, tmp_path / "run", **{**SMALL, "steps": 25, "keep_every": 10})
    kept = sorted(path.name for path in run.path.glob("step-*"))
    assert kept == ["step-000010.safetensors", "step-000020.safetensors"]
    assert charlstm.load(run.path / kept[0]).vocab == run.model.vocab
    copies = whole[1]
    assert weights_of(run.path / kept[0]) == average_of(copies[10] / LAST)


def test_seed_is_stored_and_fixes_the_run(whole, hard_text, tmp_path):
    folder, _ = whole
    assert load_checkpoint(folder / LAST).training["config"]["seed"] == 3
    again = charlstm.train(hard_text, tmp_path / "again", **SMALL)
    assert_as_whole(again.path, whole)
    other = charlstm.train(hard_text, tmp_path / "other", **{**SMALL, "seed": 4, "steps": 10})
    assert arrays_of(other.path / LAST) != arrays_of(whole[1][10] / LAST)


# -- resumption ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 10, 20, 30, 40, 50])
def test_resume_from_every_save_is_bit_for_bit(whole, step, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1][step], folder)
    assert charlstm.train(run=folder, resume=True).reason == "finished"
    assert_as_whole(folder, whole)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("save", [1, 2, 3, 6, 7])
def test_resume_after_death_around_any_save_is_bit_for_bit(
    whole, hard_text, tmp_path, monkeypatch, save, when
):
    """Also between `best` and `last`, where the one is newer than the other."""
    folder, saves, real = tmp_path / "run", [], saver.save_checkpoint

    def dying(path, checkpoint):
        saves.append(path.name)
        if len(saves) == save + 1 and when == "before":
            raise Killed
        real(path, checkpoint)
        if len(saves) == save + 1:
            raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", dying)
    with pytest.raises(Killed):
        charlstm.train(hard_text, folder, **SMALL)
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)


def command(*arguments):
    return [sys.executable, "-m", "charlstm", *map(str, arguments)]


def options(**changes):
    given = SMALL | changes
    return [x for name, v in given.items() for x in (f"--{name.replace('_', '-')}", v)]


def start(folder, *arguments, at=None):
    """Start the command; wait until the metrics show `at`, such as '"step": 7'."""
    process = subprocess.Popen(
        command("train", "-r", folder, "--quiet", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while at not in metrics_of(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"never came to {at}: {process.communicate()}")
        time.sleep(0.001)
    return process


def metrics_of(folder):
    """The text of the metrics, if any: what is resumed from step 0 removes those it finds."""
    try:
        return (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


@pytest.fixture(scope="module")
def slow(hard_text, tmp_path_factory):
    """An uninterrupted run whose steps take long enough to be killed in."""
    folder = tmp_path_factory.mktemp("slow") / "run"
    charlstm.train(hard_text, folder, **SLOW)
    return folder, {}


SLOW = SMALL | {"hidden": 64, "layers": 3, "batch_size": 24, "seq_length": 48}


def test_resume_after_kill_9_at_several_moments_is_bit_for_bit(slow, hard_text, tmp_path):
    folder = tmp_path / "run"
    arguments = [hard_text, *options(**SLOW)]
    for at in ('"step": 3', '"event": "eval", "step": 10', '"step": 25', '"step": 39'):
        process = start(folder, *arguments, at=at)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        arguments = ["--resume"]
    subprocess.run(command("train", "-r", folder, "--resume", "--quiet"), check=True)
    assert_as_whole(folder, slow)


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_ends_the_step_and_saves_and_resume_is_bit_for_bit(
    slow, hard_text, tmp_path, name, code
):
    folder = tmp_path / "run"
    process = start(folder, hard_text, *options(**SLOW), at='"step": 14')
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors == f"interrupted and saved: charlstm train -r {folder} --resume\n"
    assert output.startswith(f"{folder}: ")
    stop = events_of(folder)[-1]
    assert (stop["event"], stop["reason"]) == ("stop", name)
    progress = load_checkpoint(folder / LAST).summary
    assert progress["step"] == stop["step"] and 14 <= stop["step"] < 60
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, slow)


def test_a_torn_last_line_of_the_metrics_survives_resumption(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1][30], folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "step": 31, "loss": 1.0}\n{"event": "train", "st')
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)


def test_another_run_is_kept_until_the_one_that_overwrites_it_is_saved(
    whole, hard_text, tmp_path, monkeypatch
):
    folder, real = tmp_path / "run", saver.save_checkpoint
    old = charlstm.train(hard_text, folder, **{**SMALL, "seed": 9, "steps": 15, "keep_every": 5})
    before = {path.name: path.read_bytes() for path in old.path.iterdir()}

    def dying(path, checkpoint):
        raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", dying)
    with pytest.raises(Killed):
        charlstm.train(hard_text, folder, overwrite=True, **SMALL)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def saved_and_dead(path, checkpoint):
        real(path, checkpoint)
        raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", saved_and_dead)
    with pytest.raises(Killed):
        charlstm.train(hard_text, folder, overwrite=True, **SMALL)
    assert (folder / BEST).read_bytes() == before[BEST]  # the old one's, not yet removed
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)
    assert [event["event"] for event in events_of(folder)].count("start") == 1


def test_what_a_killed_process_was_writing_is_removed(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1][30], folder)
    (folder / "last.safetensors.4711.tmp").write_bytes(b"half")
    (folder / "notes.tmp").write_text("mine")
    charlstm.train(run=folder, resume=True)
    assert (folder / "notes.tmp").exists()
    (folder / "notes.tmp").unlink()
    assert_as_whole(folder, whole)


def test_lost_metrics_do_not_hinder_resumption(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[1][30], folder)
    (folder / "metrics.jsonl").unlink()
    charlstm.train(run=folder, resume=True)
    assert arrays_of(folder / LAST) == arrays_of(whole[0] / LAST)
    assert events_of(folder)[0]["step"] == 30


def test_resume_of_a_finished_run_says_so_and_changes_nothing(whole, tmp_path, cli):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = cli("train", "-r", folder, "--resume")
    assert "finished already, after 60 steps" in result.stderr
    assert f"{folder}: 60 steps, best validation loss" in result.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_end_of_a_run_can_be_moved(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)
    result = charlstm.train(run=folder, resume=True, steps=80)
    assert (result.steps, result.reason) == (80, "finished")
    assert history(folder)[: len(history(whole[0]))] == history(whole[0])
    assert [e["step"] for e in history(folder) if e["event"] == "eval"][-2:] == [70, 80]
    # and it is the run's from then on
    assert load_checkpoint(folder / LAST).training["config"]["steps"] == 80


@pytest.fixture(scope="module")
def stopping(hard_text, tmp_path_factory):
    """A run that stops early, and copies of its folder at each save of `last`."""
    return copied_at_each_save(
        hard_text, tmp_path_factory.mktemp("stopping"), stop_after=2, lr=0.01
    )


def test_a_run_stops_early_where_further_evaluations_are_no_better(stopping, cli):
    folder, copies = stopping
    evaluations = [event for event in events_of(folder) if event["event"] == "eval"]
    best = min(evaluations, key=lambda event: event["val_loss"])
    assert len(evaluations) < 6 and evaluations.index(best) == len(evaluations) - 3
    stop = events_of(folder)[-1]
    assert (stop["reason"], stop["best_step"]) == ("stopped early", best["step"])
    assert stop["step"] == evaluations[-1]["step"] == max(copies) == best["step"] + 20
    assert load_checkpoint(folder / BEST).summary["step"] == best["step"]
    result = cli("train", "-r", folder, "--resume", "--json")
    assert "finished already" in result.stderr
    assert json.loads(result.stdout)["reason"] == "stopped early"


def test_resume_of_a_run_that_stops_early_is_bit_for_bit(stopping, tmp_path):
    folder, copies = stopping
    for step in sorted(copies)[:-1]:
        shutil.copytree(copies[step], tmp_path / f"{step}")
        assert charlstm.train(run=tmp_path / f"{step}", resume=True).reason == "stopped early"
        assert arrays_of(tmp_path / f"{step}" / LAST) == arrays_of(folder / LAST)
        assert history(tmp_path / f"{step}") == history(folder)


def test_a_run_that_stopped_early_goes_on_where_its_end_is_moved(stopping, tmp_path):
    shutil.copytree(stopping[0], tmp_path / "run")
    stopped = events_of(tmp_path / "run")[-1]["step"]
    result = charlstm.train(run=tmp_path / "run", resume=True, steps=80)
    assert (result.steps, result.reason) == (stopped + 20, "stopped early")
    result = charlstm.train(run=tmp_path / "run", resume=True, steps=stopped + 25)
    assert (result.steps, result.reason) == (stopped + 25, "finished")


def test_stopping_early_is_told_in_one_line(hard_text, tmp_path, cli):
    given = options(stop_after=1, eval_every=10)
    result = cli("train", hard_text, "-r", tmp_path / "run", *given)
    stop = events_of(tmp_path / "run")[-1]
    assert f"stopped early: nothing was better than step {stop['best_step']}\n" in result.stderr
    assert (
        f"{stop['step']} steps, best validation loss {stop['best_val_loss']:.4f}" in result.stdout
    )


def test_without_validation_text_no_run_stops_early(text_file, tmp_path):
    small = {**SMALL, "stop_after": 1, "eval_every": 5, "steps": 15}
    run = charlstm.train(text_file, tmp_path / "run", val_frac=0, **small)
    assert (run.steps, run.reason) == (15, "finished")


def test_a_moved_end_is_kept_before_the_next_evaluation(whole, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(whole[0], folder)

    def observe(event):
        if event["event"] == "step":
            raise Killed

    with pytest.raises(Killed):
        charlstm.train(run=folder, resume=True, steps=80, observer=observe)
    assert charlstm.train(run=folder, resume=True).steps == 80


def test_an_end_moved_to_where_the_run_stands_leaves_a_best(hard_text, tmp_path):
    folder = tmp_path / "run"

    def observe(event):
        if event["event"] == "step" and event["step"] == 7:
            signal.raise_signal(signal.SIGINT)

    result = charlstm.train(hard_text, folder, observer=observe, **SMALL)
    assert (result.reason, result.steps, result.best_val_loss) == ("SIGINT", 7, None)
    assert not (folder / BEST).exists()
    result = charlstm.train(run=folder, resume=True, steps=7)
    assert result.reason == "finished" and result.best_val_loss > 0
    assert (folder / BEST).exists() and events_of(folder)[-1]["event"] == "stop"


def test_resume_of_a_changed_or_missing_corpus_is_refused(text_file, tmp_path):
    text = tmp_path / "text.txt"
    shutil.copy(text_file, text)
    run = charlstm.train(text, tmp_path / "run", **{**SMALL, "steps": 10})
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with text.open("a") as file:
        file.write("the cat")
    with pytest.raises(CharlstmError, match=r"corpus of this run has changed.*text"):
        charlstm.train(run=run.path, resume=True, steps=20)
    text.unlink()
    with pytest.raises(CharlstmError, match=r"cannot read .*text\.txt: No such file"):
        charlstm.train(run=run.path, resume=True, steps=20)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    shutil.copy(text_file, text)  # the same content again, only newer
    assert charlstm.train(run=run.path, resume=True, steps=20).steps == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden": 5}, "hidden comes from the run that is resumed: only epochs, steps, minutes"),
        ({"seed": 0}, "seed comes from the run"),
        ({"corpus": "x.txt"}, "takes the corpus and the weights from the run"),
        ({"init_from": "x"}, "takes the corpus and the weights from the run"),
        ({"overwrite": True}, "takes the corpus and the weights from the run"),
        ({"steps": 70, "epochs": 3.0}, "epochs and steps contradict"),
    ],
)
def test_resume_takes_nothing_but_an_end(whole, arguments, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(run=whole[0], resume=True, **arguments)


def test_resume_of_no_run_and_of_a_bare_model_is_refused(whole, tmp_path):
    with pytest.raises(CharlstmError, match="nothing to resume"):
        charlstm.train(run=tmp_path, resume=True)
    shutil.copy(whole[0] / BEST, tmp_path / LAST)
    with pytest.raises(CharlstmError, match=r"last\.safetensors: cannot be resumed from"):
        charlstm.train(run=tmp_path, resume=True)


# -- texts of all kinds --------------------------------------------------------------------------


def test_tiny_corpus_trains_with_fewer_lanes_and_says_so(tmp_path):
    (tmp_path / "t.txt").write_text("to be or not to be")
    events = []
    run = charlstm.train(
        tmp_path / "t.txt", tmp_path / "run", steps=5, hidden=4, observer=events.append
    )
    notices = " ".join(events[0]["notices"])
    assert "the text has room for only 1 streams of windows of 15" in notices
    assert run.best_val_loss > 0 and (run.path / BEST).exists()


@pytest.mark.parametrize("text", ["", "a", "ab", "aaaaaaaaaaaaaaaaaaaaa"])
def test_tiny_corpus_of_nothing_to_learn_from_is_a_clear_error(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(CharlstmError, match="too small to learn from"):
        charlstm.train(tmp_path / "t.txt", tmp_path / "run", steps=5)
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_no_validation_part_works_and_best_is_the_latest(text_file, tmp_path):
    events = []
    run = charlstm.train(text_file, tmp_path / "run", val_frac=0, observer=events.append, **SMALL)
    assert run.best_val_loss is None
    assert any("no validation text" in notice for notice in events[0]["notices"])
    assert events[0]["validation_characters"] == 0
    assert weights_of(run.path / BEST) == average_of(run.path / LAST)
    plain = charlstm.train(text_file, tmp_path / "plain", val_frac=0, **{**SMALL, "average": 0.0})
    assert weights_of(plain.path / BEST) == weights_of(plain.path / LAST)
    stop = events_of(run.path)[-1]
    assert (stop["event"], stop["best_val_loss"]) == ("stop", None)


def test_validation_file_of_its_own(text_file, tmp_path):
    (tmp_path / "val.txt").write_text(make_text(20, seed=7))
    events = []
    charlstm.train(
        text_file,
        tmp_path / "run",
        val_file=tmp_path / "val.txt",
        observer=events.append,
        **{**SMALL, "steps": 10},
    )
    assert events[0]["train_characters"] == len(text_file.read_text())
    assert events[0]["validation_characters"] == len(make_text(20, seed=7))


def test_unicode_text_is_learnt_by_code_points(tmp_path):
    text = "grüße 日本🎉\n" * 40
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", steps=150, hidden=24, lr=0.02)
    assert run.model.vocab.characters == "".join(sorted(set(text)))
    assert run.model.sample(10, prime="\n", temperature=0) == "grüße 日本🎉\n"


def test_huge_vocabulary_is_warned_of(tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 5_100)))
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    events = []
    charlstm.train(
        tmp_path / "t.txt",
        tmp_path / "run",
        steps=1,
        hidden=2,
        val_frac=0,
        observer=events.append,
    )
    assert any("5,100 distinct" in n and "--level byte" in n for n in events[0]["notices"])


def test_small_vocabulary_is_not_warned_of(whole):
    assert events_of(whole[0])[0]["notices"] == []


# -- other weights -------------------------------------------------------------------------------


def test_fine_tuning_on_new_text_maps_by_character_and_extends_the_vocabulary(trained, tmp_path):
    """Fluent garbage comes of ids that moved: here digits come before all known characters."""
    (tmp_path / "new.txt").write_text("0 cats, 1 cat; 22 dögs!\n" * 40, encoding="utf-8")
    first = {}

    def observe(event):
        if event["event"] == "save" and not first:
            first["model"] = charlstm.load(tmp_path / "run")

    old = charlstm.load(trained)
    run = charlstm.train(
        tmp_path / "new.txt", tmp_path / "run", init_from=trained, steps=3, observer=observe
    )
    new = first["model"]
    assert new.vocab.characters == "".join(sorted({*old.vocab.characters, *"0 cats,1;2dög!\n"}))
    assert new.vocab.symbols.index("t") != old.vocab.symbols.index("t")
    theirs = [new.vocab.symbols.index(symbol) for symbol in old.vocab.symbols]
    p, q = old.parameters, new.parameters
    assert (q["layers.0.Wx"][theirs] == p["layers.0.Wx"]).all()
    assert (q["head.W"][:, theirs] == p["head.W"]).all()
    assert (q["head.b"][theirs] == p["head.b"]).all()
    assert (q["layers.0.Wh"] == p["layers.0.Wh"]).all()
    assert (q["layers.0.b"] == p["layers.0.b"]).all()
    fresh = [new.vocab.symbols.index(symbol) for symbol in "012ö!"]
    assert q["layers.0.Wx"][fresh].std() > 0 and not q["head.b"][fresh].any()
    assert run.steps == 3


def test_copied_weights_of_skip_connections_go_by_the_symbol():
    config = charlstm.ModelConfig(hidden=3, layers=2, skip=True)
    old = charlstm.CharModel(config, charlstm.Vocab.from_text("abd"), seed=1)
    new = charlstm.CharModel(config, charlstm.Vocab.from_text("abcd"), seed=2)
    fresh = new.parameters["layers.1.Wi"][2].copy()
    copy_weights(old, new)
    assert (new.parameters["layers.1.Wi"][[0, 1, 3]] == old.parameters["layers.1.Wi"]).all()
    assert (new.parameters["layers.1.Wi"][2] == fresh).all()
    assert (new.parameters["layers.1.Wx"] == old.parameters["layers.1.Wx"]).all()
    assert (new.parameters["head.W"][:, [0, 1, 3]] == old.parameters["head.W"]).all()


def test_fine_tuning_starts_where_the_other_run_ended(trained, text_file, tmp_path):
    events = []
    charlstm.train(
        text_file, tmp_path / "run", init_from=trained, steps=20, dropout=0.0, lr=1e-4,
        batch_size=8, seq_length=24, observer=events.append,
    )  # fmt: skip
    losses = [event["train_loss"] for event in events if event["event"] == "step"]
    assert losses[0] < 1.5  # a fresh model begins at 3.2
    assert not events[0]["resumed"]  # it is another thing than resumption: steps count from 0
    assert events[0]["config"]["lr"] == 1e-4


def test_a_fine_tuned_run_resumes_with_its_extended_vocabulary(trained, tmp_path):
    (tmp_path / "new.txt").write_text("0 cats, 1 cat\n" * 80, encoding="utf-8")
    folder = tmp_path / "run"
    charlstm.train(tmp_path / "new.txt", folder, init_from=trained, steps=4, workers=1)
    vocab = charlstm.load(folder).vocab
    charlstm.train(run=folder, resume=True, steps=8)
    assert charlstm.load(folder).vocab == vocab


def test_init_from_keeps_shape_and_level(trained, byte_run, text_file, tmp_path):
    with pytest.raises(CharlstmError, match="hidden is 32 in the run to start from, not 7"):
        charlstm.train(text_file, tmp_path / "run", init_from=trained, hidden=7, steps=1)
    with pytest.raises(CharlstmError, match="level"):
        charlstm.train(text_file, tmp_path / "run", init_from=byte_run, level="char", steps=1)
    with pytest.raises(CharlstmError, match="no such file"):
        charlstm.train(text_file, tmp_path / "run", init_from=tmp_path / "none", steps=1)
    run = charlstm.train(text_file, tmp_path / "run", init_from=byte_run, steps=1)
    assert run.model.vocab.level == "byte"


# -- folders -------------------------------------------------------------------------------------


def test_an_existing_run_is_never_overwritten_unasked(text_file, tmp_path):
    small = {**SMALL, "steps": 2}
    run = charlstm.train(text_file, tmp_path / "run", keep_every=1, **small)
    (run.path / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(CharlstmError, match=r"holds a run already: --resume .* --overwrite"):
        charlstm.train(text_file, run.path, **small)
    with pytest.raises(CharlstmError, match="cannot read"):  # nor by what fails at once
        charlstm.train(tmp_path / "none.txt", run.path, overwrite=True, **small)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    charlstm.train(text_file, run.path, overwrite=True, **{**small, "seed": 8})
    names = {BEST, LAST, "metrics.jsonl", "notes.txt"}
    assert {path.name for path in run.path.iterdir()} == names
    assert events_of(run.path)[0]["config"]["seed"] == 8
    assert [e["event"] for e in events_of(run.path)].count("stop") == 1


def test_overwriting_keeps_the_text_that_lies_in_the_folder(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "stdin-1.txt").write_text(make_text(30))
    (folder / "stdin-2.txt").write_text(make_text(9))
    crooked = folder / ".." / "run"
    for _ in range(2):
        charlstm.train(
            crooked / "stdin-1.txt", folder, val_file=[crooked / "stdin-2.txt"], overwrite=True,
            hidden=3, steps=1,
        )  # fmt: skip
    assert {"stdin-1.txt", "stdin-2.txt"} <= {path.name for path in folder.iterdir()}


def test_a_folder_without_a_checkpoint_may_be_begun_anew(text_file, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text('{"event": "start", "step": 0}\n')
    charlstm.train(text_file, tmp_path / "run", **{**SMALL, "steps": 1})
    assert [event["event"] for event in events_of(tmp_path / "run")].count("start") == 1


def test_snapshots_alone_are_a_run_that_is_not_overwritten_unasked(text_file, tmp_path):
    small = {**SMALL, "steps": 2, "keep_every": 1}
    run = charlstm.train(text_file, tmp_path / "run", **small)
    for name in (BEST, LAST):
        (run.path / name).unlink()
    (run.path / "stdin-notes.txt").write_text("mine")
    with pytest.raises(CharlstmError, match="holds a run already"):
        charlstm.train(text_file, run.path, **small)
    charlstm.train(text_file, run.path, overwrite=True, **{**small, "keep_every": None})
    names = {BEST, LAST, "metrics.jsonl", "stdin-notes.txt"}
    assert {path.name for path in run.path.iterdir()} == names


def test_runs_that_lie_among_their_texts_are_no_text(text_file, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(text_file.read_bytes())
    (tmp_path / "runs.txt").write_text("the cat.\n")
    monkeypatch.chdir(tmp_path)
    small = {**SMALL, "steps": 4, "eval_every": 2, "keep_every": 2}
    first = charlstm.train(".", **small)
    expected = len(text_file.read_text()) + 9
    assert first.path == Path("runs") / tmp_path.name
    second = charlstm.train([Path()], tmp_path / "mine", **small)
    for run in (first, second):
        assert events_of(run.path)[0]["characters"] == expected
        assert charlstm.train(run=run.path, resume=True, steps=6).steps == 6
    with pytest.raises(CharlstmError, match="is the folder of the text, where no run can be kept"):
        charlstm.train(".", tmp_path, **small)
    assert not list(tmp_path.glob("*.safetensors")) and not (tmp_path / "lock").exists()


def test_runs_are_named_after_the_corpus(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my book.v2.txt").write_bytes(text_file.read_bytes())
    small = {"hidden": 3, "steps": 1}
    paths = [charlstm.train("my book.v2.txt", **small).path for _ in range(2)]
    assert paths == [Path("runs/my book"), Path("runs/my book-2")]
    assert charlstm.runs.folder.newest_run() == Path("runs/my book-2")
    charlstm.train("my book.v2.txt", paths[0], overwrite=True, **small)
    assert charlstm.runs.folder.newest_run() == Path("runs/my book")


def test_a_run_may_be_moved(whole, tmp_path, monkeypatch):
    shutil.copytree(whole[1][30], tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    charlstm.train(run="elsewhere", resume=True)
    assert_as_whole(tmp_path / "elsewhere", whole)


def test_a_run_that_cannot_be_written_is_told(text_file, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CharlstmError, match=r"file: cannot be made: "):
        charlstm.train(text_file, tmp_path / "file", steps=1)


# -- time ----------------------------------------------------------------------------------------


def test_minutes_are_kept_from_command_to_exit_and_the_plan_is_stored(text_file, tmp_path):
    folder = tmp_path / "run"
    began = time.monotonic()
    subprocess.run(
        command("train", text_file, "-r", folder, "--minutes", "0.1", "--warmup", "9", "--quiet"),
        check=True,
    )
    taken = time.monotonic() - began
    assert 6 - 2 < taken < 6 * 1.05 + 5
    events = events_of(folder)
    assert (events[-1]["event"], events[-1]["reason"]) == ("stop", "finished")
    plans = [event["total_steps"] for event in events if event["event"] == "train"]
    planned = [plan for plan in plans if plan is not None]
    assert planned and planned[-1] == events[-1]["step"]
    assert load_checkpoint(folder / LAST).training["trainer"]["total_steps"] == planned[-1]
    rates = [event["learning_rate"] for event in events if event["event"] == "train"]
    assert rates[-1] < 0.1 * max(rates)  # the schedule came to its end
    assert charlstm.train(run=folder, resume=True).steps == events[-1]["step"]
    told = []
    charlstm.train(run=folder, resume=True, minutes=0.15, observer=told.append)
    plan, *steps = [event for event in told if event["event"] in ("plan", "step")]
    assert (plan["event"], steps[0]["total_steps"]) == ("plan", plan["total_steps"])


def test_validation_takes_a_small_part_of_the_time_however_slow_the_model(tmp_path):
    (tmp_path / "long.txt").write_text(make_text(20_000))
    began, told = time.monotonic(), []
    options = {"hidden": 384, "layers": 2, "val_frac": 0.5, "minutes": 0.1, "seed": 1}
    run = charlstm.train(tmp_path / "long.txt", tmp_path / "run", observer=told.append, **options)
    assert run.reason == "finished" and time.monotonic() - began < 6 * 1.05 + 5
    (notice,) = [event["text"] for event in told if event["event"] == "notice"]
    characters = load_checkpoint(run.path / LAST).training["validation"]["characters"]
    start = events_of(run.path)[0]
    assert 1_000 <= characters < start["validation_characters"] / 2
    assert notice.startswith(
        f"validation losses are of the first {characters:,} of "
        f"{start['validation_characters']:,} characters"
    )
    again = resume_run(run.path, RunConfig.asked({}), time.monotonic(), None)
    assert len(again.validation.ids) == characters


@pytest.mark.parametrize(
    ("options", "total", "due"),
    [
        ({"minutes": 5.0}, 24, False),  # the last one comes in four steps
        ({"minutes": 5.0}, 25, True),
        ({"minutes": 5.0}, None, True),
        ({"minutes": 5.0, "eval_every": 10}, 21, True),
        ({"steps": 21, "eval_every": 10}, 21, True),
    ],
)
def test_no_two_evaluations_in_a_row_at_the_end_of_the_time(
    text_file, tmp_path, options, total, due
):
    settings = {"paths": (str(text_file),), "hidden": 2, "workers": 1, **options}
    run = begin_run(tmp_path / "run", RunConfig.asked(settings), None, 0.0, None)
    run.plan.eval_every, run.trainer.steps_done, run.trainer.total_steps = 10, 20, total
    assert run.plan.evaluation_is_due is due
    run.trainer.steps_done = 19
    assert run.plan.evaluation_is_due is False


def test_evaluations_do_not_depend_on_the_speed_of_the_machine(whole, hard_text, tmp_path):
    """They decide what `best` is, and what a plateau is."""
    folder = tmp_path / "run"

    def dawdle(event):
        if event["event"] == "step" and event["step"] < 10:
            time.sleep(0.15)

    charlstm.train(hard_text, folder, observer=dawdle, **SMALL)
    assert_as_whole(folder, whole)


def test_the_plan_is_told_once_the_speed_is_known(text_file, tmp_path):
    events = []
    charlstm.train(
        text_file, tmp_path / "run", observer=events.append,
        hidden=4, batch_size=4, seq_length=8, steps=150, val_frac=0,
    )  # fmt: skip
    plans = [event for event in events if event["event"] == "plan"]
    assert len(plans) == 1
    assert plans[0]["total_steps"] == 150 and 0 < plans[0]["seconds"] < 60


# -- the library ---------------------------------------------------------------------------------


def test_library_as_documented(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = charlstm.train(text_file, run="here", steps=5, hidden=8, layers=1)
    assert run.path == Path("here") and run.best_val_loss > 0
    model = charlstm.load(run.path)
    assert len(model.sample(50, prime="the")) == 50
    assert model.score("the cat").bits_per_character > 0
    assert (
        model.parameters.vector == charlstm.load("here/best.safetensors").parameters.vector
    ).all()
    several = charlstm.train([str(text_file), text_file], steps=1, hidden=4)
    assert several.path == Path("runs/small")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rnn_size": 5}, "unknown option 'rnn_size'"),
        ({"hidden": "x"}, "hidden must be int"),
        ({"batch_size": 0}, "batch_size must be 1 or more"),
        ({"val_frac": 1.0}, "val_frac must be"),
        ({"level": "syllable"}, "level"),
        ({"encoding": "hex"}, "not a text encoding"),
        ({"epochs": 1, "steps": 2}, "contradict"),
        ({"seed": -1}, "seed must be 0 or more"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(text_file, tmp_path, options, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(text_file, tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_import_is_quick_and_takes_no_more_than_it_needs(tmp_path):
    code = (
        # the time of the processor, as others may be using this one too
        "import time, sys; t = time.process_time(); import {}; u = time.process_time();"
        "print(u - t, *sorted({{'click', 'tqdm', 'torch'}} & set(sys.modules)))"
    )
    # as an installed program: the first run leaves bytecode to the others
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(module):
        command = [sys.executable, "-c", code.format(module)]
        return subprocess.check_output(command, text=True, env=environment).split()

    numpy, own = ([run(module) for _ in range(5)] for module in ("numpy", "charlstm"))
    seconds_of_numpy, seconds = (min(float(r[0]) for r in results) for results in (numpy, own))
    assert seconds < max(0.25, 2.5 * seconds_of_numpy)  # the latter on a slow machine
    assert own[0][1:] == []


def test_cache_of_the_tests_is_their_own():
    assert "charlstm-tests-" in os.environ["CHARLSTM_CACHE"]
