"""Resumption: from any moment, a run continues as if it had not been interrupted."""

import json
import shutil
import signal
import subprocess
import time

import pytest
from command_line import COMMAND
from run_files import (
    BEST,
    LAST,
    LONG_STEPS,
    SMALL,
    Killed,
    alternating,
    arrays_of,
    assert_equal_runs,
    command_options,
    contents,
    copy_of,
    events_of,
    measurements,
)

import charlstm
from charlstm import CharlstmError
from charlstm.runs import saver
from charlstm.runs.checkpoint import load_checkpoint


@pytest.mark.parametrize("step", [0, 10, 20, 30, 40, 50])
def test_a_run_resumed_from_any_save_is_equal(uninterrupted, step, tmp_path):
    folder = copy_of(uninterrupted.copies[step], tmp_path / "run")
    assert charlstm.train(run=folder, resume=True).reason == "finished"
    assert_equal_runs(folder, uninterrupted.folder)


@alternating(("save", "when"), [1, 2, 3, 6, 7], ["before", "after"])
def test_a_run_that_died_around_any_save_is_equal(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, save, when
):
    """Also between `best` and `last`, when one is newer than the other."""
    folder, saves, real = tmp_path / "run", [], saver.save_checkpoint

    def save_and_die(path, checkpoint, at=None):
        saves.append(path.name)
        if len(saves) == save + 1 and when == "before":
            raise Killed
        real(path, checkpoint, at=at)
        if len(saves) == save + 1:
            raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        charlstm.train(overfitting_text, folder, **SMALL)
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


# -- in a process of its own, with steps that take long enough to be killed in ---------------------


@pytest.fixture(scope="module")
def long_steps(overfitting_text, tmp_path_factory):
    """The folder of a run of LONG_STEPS without interruption."""
    folder = tmp_path_factory.mktemp("long_steps") / "run"
    return charlstm.train(overfitting_text, folder, **LONG_STEPS).path


def start(folder, *arguments, until):
    """Start the command train; wait until the metrics contain a text such as '"step": 7'."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, ("train", "-r", folder, "--quiet", *arguments))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while until not in metrics_of(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"never came to {until}: {process.communicate()}")
        time.sleep(0.001)
    return process


def metrics_of(folder):
    """The text of the metrics; a run that begins or resumes at step 0 removes the file."""
    try:
        return (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


@pytest.mark.parametrize(
    "moments",
    [
        ['"step": 25'],
        pytest.param(
            ['"step": 3', '"event": "eval", "step": 10', '"step": 25', '"step": 39'],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_killed_run_is_equal(long_steps, overfitting_text, tmp_path, moments):
    folder = tmp_path / "run"
    arguments = [overfitting_text, *command_options(**LONG_STEPS)]
    for moment in moments:
        process = start(folder, *arguments, until=moment)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        arguments = ["--resume"]
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, long_steps)


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGINT", 130), pytest.param("SIGTERM", 143, marks=pytest.mark.slow), ("SIGHUP", 129)],
)
def test_a_signal_ends_the_step_and_saves(long_steps, overfitting_text, tmp_path, name, code):
    folder = tmp_path / "run"
    options = command_options(**LONG_STEPS)
    process = start(folder, overfitting_text, *options, until='"step": 14')
    process.send_signal(getattr(signal, name))
    output, errors = process.communicate(timeout=20)
    assert process.returncode == code
    assert errors == f"interrupted and saved; to go on: charlstm train -r {folder} --resume\n"
    assert output.startswith(f"{folder}: ")
    stop = events_of(folder)[-1]
    assert (stop["event"], stop["reason"]) == ("stop", name)
    summary = load_checkpoint(folder / LAST).summary
    assert summary["step"] == stop["step"] and 14 <= stop["step"] < 60
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, long_steps)


# -- what a dead process leaves in the folder ------------------------------------------------------


def test_a_torn_last_line_of_the_metrics_is_removed(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"event": "train", "step": 31, "loss": 1.0}\n{"event": "train", "st')
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


def test_another_run_is_kept_until_the_one_that_overwrites_it_is_saved(
    uninterrupted, overfitting_text, tmp_path, monkeypatch
):
    folder, real = tmp_path / "run", saver.save_checkpoint
    settings = {**SMALL, "seed": 9, "steps": 15, "keep_every": 5}
    charlstm.train(overfitting_text, folder, **settings)
    before = contents(folder)

    def die(path, checkpoint, at=None):
        raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", die)
    with pytest.raises(Killed):
        charlstm.train(overfitting_text, folder, overwrite=True, **SMALL)
    assert contents(folder) == before

    def save_and_die(path, checkpoint, at=None):
        real(path, checkpoint, at=at)
        raise Killed

    monkeypatch.setattr(saver, "save_checkpoint", save_and_die)
    with pytest.raises(Killed):
        charlstm.train(overfitting_text, folder, overwrite=True, **SMALL)
    assert (folder / BEST).read_bytes() == before[BEST]  # the old one's, not yet removed
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)
    assert len(events_of(folder, "start")) == 1


def test_half_written_files_are_removed(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    (folder / "last.safetensors.4711.tmp").write_bytes(b"half")
    (folder / "notes.tmp").write_text("mine")
    charlstm.train(run=folder, resume=True)
    assert (folder / "notes.tmp").exists()
    (folder / "notes.tmp").unlink()
    assert_equal_runs(folder, uninterrupted.folder)


def test_a_run_without_its_metrics_can_be_resumed(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    charlstm.train(run=folder, resume=True)
    assert arrays_of(folder / LAST) == arrays_of(uninterrupted.folder / LAST)
    assert events_of(folder)[0]["step"] == 30


@pytest.mark.parametrize(
    ("entry", "found"), [({"format": 2}, "2"), ({"format": None}, "None"), ({}, "'none'")]
)
def test_metrics_of_another_format_are_refused(uninterrupted, tmp_path, entry, found):
    folder = copy_of(uninterrupted.copies[30], tmp_path / "run")
    metrics = (folder / "metrics.jsonl").read_text()
    old = '"format": 1, '
    assert metrics.count(old) == 1
    new = "".join(f'"format": {json.dumps(value)}, ' for value in entry.values())
    (folder / "metrics.jsonl").write_text(metrics.replace(old, new))
    (folder / "lock").unlink()  # the copy was made while the run was going on
    before = contents(folder)
    with pytest.raises(CharlstmError) as caught:
        charlstm.train(run=folder, resume=True)
    path = folder / "metrics.jsonl"
    assert str(caught.value) == (
        f"{path}: format {found}, this program reads format 1: move the file away to go on "
        "without its events"
    )
    assert contents(folder) == before


# -- finished runs, and a new end ------------------------------------------------------------------


def test_resuming_a_finished_run_says_so_and_changes_nothing(uninterrupted, tmp_path, cli):
    folder = copy_of(uninterrupted.folder, tmp_path / "run")
    before = contents(folder)
    result = cli("train", "-r", folder, "--resume")
    assert "has finished already, after 60 steps" in result.stderr
    assert f"{folder}: 60 steps, best validation loss" in result.stdout
    assert contents(folder) == before


def test_the_end_of_a_run_can_be_moved(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.folder, tmp_path / "run")
    result = charlstm.train(run=folder, resume=True, steps=80)
    assert (result.steps, result.reason) == (80, "finished")
    before = measurements(uninterrupted.folder)
    assert measurements(folder)[: len(before)] == before
    assert [event["step"] for event in events_of(folder, "eval")][-2:] == [70, 80]
    # and the run keeps its new end
    assert load_checkpoint(folder / LAST).training["config"]["steps"] == 80


def test_a_moved_end_is_saved_before_the_next_evaluation(uninterrupted, tmp_path):
    folder = copy_of(uninterrupted.folder, tmp_path / "run")

    def observe(event):
        if event["event"] == "step":
            raise Killed

    with pytest.raises(Killed):
        charlstm.train(run=folder, resume=True, steps=80, observer=observe)
    assert charlstm.train(run=folder, resume=True).steps == 80


def test_an_end_moved_to_the_present_step_leaves_a_best(overfitting_text, tmp_path):
    folder = tmp_path / "run"

    def observe(event):
        if event["event"] == "step" and event["step"] == 7:
            signal.raise_signal(signal.SIGINT)

    result = charlstm.train(
        overfitting_text, folder, observer=observe, on_interrupt="return", **SMALL
    )
    assert (result.reason, result.steps, result.best_val_loss) == ("SIGINT", 7, None)
    assert not (folder / BEST).exists()
    result = charlstm.train(run=folder, resume=True, steps=7)
    assert result.reason == "finished" and result.best_val_loss > 0
    assert (folder / BEST).exists() and events_of(folder)[-1]["event"] == "stop"


# -- refused ---------------------------------------------------------------------------------------


def test_a_changed_or_missing_corpus_is_refused(text_file, tmp_path):
    text = tmp_path / "text.txt"
    shutil.copy(text_file, text)
    run = charlstm.train(text, tmp_path / "run", **{**SMALL, "steps": 10})
    before = contents(run.path)
    with text.open("a") as file:
        file.write("the cat")
    with pytest.raises(CharlstmError, match=r"corpus of this run has changed.*text"):
        charlstm.train(run=run.path, resume=True, steps=20)
    text.unlink()
    with pytest.raises(CharlstmError, match=r"cannot read .*text\.txt, the text of .*: No such"):
        charlstm.train(run=run.path, resume=True, steps=20)
    assert contents(run.path) == before
    shutil.copy(text_file, text)  # the same content again, only newer
    assert charlstm.train(run=run.path, resume=True, steps=20).steps == 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"hidden": 5},
            "`hidden` comes from the run that is resumed: only `epochs`, `steps`, `minutes`",
        ),
        ({"seed": 0}, "`seed` comes from the run"),
        ({"corpus": "x.txt"}, r"cannot read .*x\.txt, the text of .*: No such file"),
        ({"init_from": "x"}, "takes the corpus, the weights and the settings from the run"),
        ({"overwrite": True}, "takes the corpus, the weights and the settings from the run"),
        ({"steps": 70, "epochs": 3.0}, "`epochs` and `steps` contradict"),
    ],
)
def test_resumption_takes_no_option_but_an_end(uninterrupted, arguments, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(run=uninterrupted.folder, resume=True, **arguments)


def test_an_empty_folder_and_a_model_without_training_state_are_refused(uninterrupted, tmp_path):
    with pytest.raises(CharlstmError, match="nothing to resume"):
        charlstm.train(run=tmp_path, resume=True)
    file = uninterrupted.folder / LAST
    with pytest.raises(CharlstmError, match=f"is a file: .* a run, such as {file.parent}$"):
        charlstm.train(run=file, resume=True)
    shutil.copy(uninterrupted.folder / BEST, tmp_path / LAST)
    with pytest.raises(CharlstmError, match=r"last\.safetensors: the run cannot be resumed from"):
        charlstm.train(run=tmp_path, resume=True)
