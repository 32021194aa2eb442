"""A signal at every stage: no half-written file stays, and no saved work is lost."""

import os
import signal
import subprocess

import pytest
from command_line import COMMAND
from corpus_files import make_text
from run_files import LAST, SMALL, alternating, assert_equal_runs, events_of

import charlstm
from charlstm.runs import run
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.text import corpus
from charlstm.training import validation

EXCEPTIONS = {"SIGINT": KeyboardInterrupt, "SIGTERM": SystemExit, "SIGHUP": SystemExit}
ENDS_WHEN_REPEATED = ["SIGINT", "SIGTERM"]


@pytest.mark.parametrize("name", EXCEPTIONS)
@pytest.mark.parametrize("function", ["scan", "write_entry"])
def test_a_signal_while_the_corpus_is_encoded_leaves_nothing(
    overfitting_text, tmp_path, monkeypatch, cache, name, function
):
    real = getattr(corpus, function)

    def interrupted(*arguments):
        result = real(*arguments)
        signal.raise_signal(signal.Signals[name])
        return result

    monkeypatch.setattr(corpus, function, interrupted)
    with pytest.raises(EXCEPTIONS[name]) as caught:
        charlstm.train(overfitting_text, tmp_path / "run", **SMALL)
    if name != "SIGINT":
        assert caught.value.code == 128 + signal.Signals[name]
    assert not (tmp_path / "run").exists()
    assert list(cache.glob("*")) == []


@pytest.mark.parametrize(
    "name", [pytest.param("SIGINT", marks=pytest.mark.slow), "SIGTERM", "SIGHUP"]
)
def test_a_signal_while_standard_input_is_read_leaves_nothing(tmp_path, name):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, "train", "-", "-r", folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(make_text(5_000).encode())
    process.stdin.flush()
    while not any(folder.glob("stdin-1.txt.*.tmp")):
        assert process.poll() is None
    process.send_signal(signal.Signals[name])
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.Signals[name]
    assert output == b"" and errors.strip() == b""
    assert list(tmp_path.iterdir()) == []


@alternating(("step", "name"), [20, 60, 40], EXCEPTIONS)
def test_an_interrupted_evaluation_is_made_upon_resumption(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, step, name
):
    folder, real, calls = tmp_path / "run", validation.evaluate, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == step // 10:
            signal.raise_signal(signal.Signals[name])
        return real(*arguments, **options)

    monkeypatch.setattr(validation, "evaluate", interrupted)
    result = charlstm.train(overfitting_text, folder, on_interrupt="return", **SMALL)
    monkeypatch.undo()
    assert (result.reason, result.steps) == (name, step)
    assert events_of(folder, "eval")[-1]["step"] == step - 10
    saved = load_checkpoint(folder / LAST)
    assert saved.summary["step"] == step and saved.training["losses"]["count"] == 10
    assert charlstm.train(run=folder, resume=True).reason == "finished"
    assert_equal_runs(folder, uninterrupted.folder)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_a_signal_is_raised_in_the_program_after_the_run_is_saved(
    uninterrupted, overfitting_text, tmp_path, name
):
    folder = tmp_path / "run"

    def observe(event):
        if event["event"] == "step" and event["step"] == 25:
            signal.raise_signal(signal.Signals[name])

    with pytest.raises(EXCEPTIONS[name]) as caught:
        charlstm.train(overfitting_text, folder, observer=observe, **SMALL)
    if name != "SIGINT":
        assert caught.value.code == 128 + signal.Signals[name]
    assert load_checkpoint(folder / LAST).summary["step"] == 25
    assert charlstm.train(run=folder, resume=True).reason == "finished"
    assert_equal_runs(folder, uninterrupted.folder)


def test_an_evaluation_interrupted_twice_stands_in_the_metrics_once(
    uninterrupted, overfitting_text, tmp_path, monkeypatch
):
    """The second time, the process ends after the event `eval` and before the state is saved."""
    folder, real = tmp_path / "run", validation.evaluate

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return real(*arguments, **options)

    def die(*arguments):
        raise SystemExit(143)

    monkeypatch.setattr(validation, "evaluate", interrupted)
    run_ = charlstm.train(overfitting_text, folder, on_interrupt="return", **SMALL)
    assert run_.steps == 10
    monkeypatch.undo()
    monkeypatch.setattr(run.Run, "_save_last", die)
    with pytest.raises(SystemExit):
        charlstm.train(run=folder, resume=True)
    assert events_of(folder)[-1]["file"] == "best.safetensors"
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


@alternating(("save", "name"), [1, 2, 3, 4, 9], EXCEPTIONS, slow=(2, 3))
def test_a_save_is_finished_before_the_run_ends(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, save, name
):
    folder = tmp_path / "run"
    # a terminal that is closed often sends two SIGHUP
    signal_during_save(monkeypatch, folder, save, [name, name] if name == "SIGHUP" else [name])
    result = charlstm.train(overfitting_text, folder, on_interrupt="return", **SMALL)
    monkeypatch.undo()
    assert result.reason == name
    assert load_checkpoint(folder / LAST).summary["step"] == result.steps
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


@alternating(("save", "name"), [2, 3, 4, 9], ENDS_WHEN_REPEATED, slow=(4, 9))
def test_a_second_signal_ends_the_run_at_once_without_a_half_written_file(
    uninterrupted, overfitting_text, tmp_path, monkeypatch, save, name
):
    folder = tmp_path / "run"
    signal_during_save(monkeypatch, folder, save, [name, name])
    with pytest.raises(EXCEPTIONS[name]):
        charlstm.train(overfitting_text, folder, **SMALL)
    monkeypatch.undo()
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".jsonl", ".html"}
    for path in folder.glob("*.safetensors"):
        load_checkpoint(path)
    charlstm.train(run=folder, resume=True)
    assert_equal_runs(folder, uninterrupted.folder)


def signal_during_save(monkeypatch, folder, save, names):
    """Send signals while the file of the save-th checkpoint is flushed to the disk."""
    real, saves = os.fsync, []

    def fsync(descriptor):
        if any(folder.glob("*.tmp")):
            saves.append(descriptor)
            for name in names if len(saves) == save else []:
                signal.raise_signal(signal.Signals[name])
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
