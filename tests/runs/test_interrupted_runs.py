"""Ctrl-C and SIGTERM at every stage: nothing half done stays, nothing saved is lost."""

import os
import signal
import subprocess
import sys

import pytest
from corpus_files import make_text
from run_files import LAST, SMALL, assert_as_whole, events_of

import charlstm
from charlstm.runs import run
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.text import corpus
from charlstm.training import validation

ENDS = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: SystemExit}
both = pytest.mark.parametrize("number", ENDS, ids=["SIGINT", "SIGTERM"])


@both
@pytest.mark.parametrize("what", ["scan", "_write_ids"])
def test_while_the_corpus_is_encoded_nothing_of_it_stays(
    hard_text, tmp_path, monkeypatch, cache, number, what
):
    real = getattr(corpus, what)

    def interrupted(*arguments):
        result = real(*arguments)
        signal.raise_signal(number)
        return result

    monkeypatch.setattr(corpus, what, interrupted)
    with pytest.raises(ENDS[number]) as caught:
        charlstm.train(hard_text, tmp_path / "run", **SMALL)
    if number == signal.SIGTERM:
        assert caught.value.code == 143
    assert not (tmp_path / "run").exists()
    assert list(cache.glob("*")) == []


@both
def test_waiting_for_standard_input_nothing_of_it_stays(tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "charlstm", "train", "-", "-r", folder],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(make_text(5_000).encode())
    process.stdin.flush()
    while not any(folder.glob("stdin-1.txt.*.tmp")):
        assert process.poll() is None
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert output == b"" and errors.strip() == b""
    assert list(tmp_path.iterdir()) == []


@both
@pytest.mark.parametrize("step", [20, 60])
def test_an_evaluation_is_given_up_and_made_upon_resumption(
    whole, hard_text, tmp_path, monkeypatch, number, step
):
    folder, real, calls = tmp_path / "run", validation.evaluate, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == step // 10:
            signal.raise_signal(number)
        return real(*arguments, **options)

    monkeypatch.setattr(validation, "evaluate", interrupted)
    result = charlstm.train(hard_text, folder, **SMALL)
    monkeypatch.undo()
    assert (result.reason, result.steps) == (signal.Signals(number).name, step)
    assert [e["step"] for e in events_of(folder) if e["event"] == "eval"][-1] == step - 10
    saved = load_checkpoint(folder / LAST)
    assert saved.summary["step"] == step and saved.training["losses"]["count"] == 10
    assert charlstm.train(run=folder, resume=True).reason == "finished"
    assert_as_whole(folder, whole)


def test_an_evaluation_given_up_twice_is_told_once(whole, hard_text, tmp_path, monkeypatch):
    """The second time the process ends after it told the evaluation, and before it saved that."""
    folder, real = tmp_path / "run", validation.evaluate

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGTERM)
        return real(*arguments, **options)

    def die(*arguments):
        raise SystemExit(143)

    monkeypatch.setattr(validation, "evaluate", interrupted)
    assert charlstm.train(hard_text, folder, **SMALL).steps == 10
    monkeypatch.undo()
    monkeypatch.setattr(run.Run, "_save_last", die)
    with pytest.raises(SystemExit):
        charlstm.train(run=folder, resume=True)
    assert events_of(folder)[-1]["file"] == "best.safetensors"
    monkeypatch.undo()
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)


@both
@pytest.mark.parametrize("save", [1, 2, 3, 4, 9])
def test_a_save_is_ended_before_the_run_is(whole, hard_text, tmp_path, monkeypatch, number, save):
    folder = tmp_path / "run"
    signal_during_save(monkeypatch, folder, save, [number])
    result = charlstm.train(hard_text, folder, **SMALL)
    monkeypatch.undo()
    assert result.reason == signal.Signals(number).name
    assert load_checkpoint(folder / LAST).summary["step"] == result.steps
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)


@both
@pytest.mark.parametrize("save", [2, 3, 4, 9])
def test_the_second_signal_leaves_at_once_and_files_whole(
    whole, hard_text, tmp_path, monkeypatch, number, save
):
    folder = tmp_path / "run"
    signal_during_save(monkeypatch, folder, save, [number, number])
    with pytest.raises(ENDS[number]):
        charlstm.train(hard_text, folder, **SMALL)
    monkeypatch.undo()
    assert {path.suffix for path in folder.iterdir()} <= {".safetensors", ".jsonl"}
    for path in folder.glob("*.safetensors"):
        load_checkpoint(path)
    charlstm.train(run=folder, resume=True)
    assert_as_whole(folder, whole)


def signal_during_save(monkeypatch, folder, save, numbers):
    """Send signals while the file of the save-th checkpoint is flushed to the disk."""
    real, saves = os.fsync, []

    def fsync(descriptor):
        if any(folder.glob("*.tmp")):
            saves.append(descriptor)
            for number in numbers if len(saves) == save else []:
                signal.raise_signal(number)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
