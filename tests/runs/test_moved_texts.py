"""Runs whose text, or folder, is now in another place; and runs that name texts of others."""

import os
import shutil
from pathlib import Path

import pytest
from corpus_files import make_text
from run_files import LAST, SMALL, events_of

import charlstm
from charlstm import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.text import corpus as corpora

SHORT = {**SMALL, "steps": 2}


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text"
    path.write_text(make_text(60))
    return path


def resume(folder, steps, **options):
    return charlstm.train(run=folder, resume=True, steps=steps, **options).steps


def test_a_run_with_its_text_from_standard_input_can_be_moved(cli, tmp_path):
    folder = tmp_path / "run"
    cli("train", "-", "-r", folder, "--steps", 2, "--hidden", 3, "--quiet", input=make_text(60))
    (tmp_path / "elsewhere").mkdir()
    moved = folder.rename(tmp_path / "elsewhere" / "run")
    assert resume(moved, 3) == 3
    assert load_checkpoint(moved / LAST).training["corpus"]["paths"] == ["stdin-1.txt"]
    assert (moved / "stdin-1.txt").read_text() == make_text(60)
    assert charlstm.train(moved / "stdin-1.txt", moved, overwrite=True, **SHORT).steps == 2
    assert resume(moved.rename(tmp_path / "run"), 3) == 3


def test_the_new_place_of_a_text_is_named_and_recorded(cli, text, tmp_path):
    run = charlstm.train(text, tmp_path / "run", **SHORT).path
    moved = text.rename(tmp_path / "moved")
    options = ("train", "-r", run, "--resume", "--quiet")
    assert cli(*options, code=1).stderr == (
        f"charlstm: cannot read {text}, the text of {run}: No such file or directory: "
        f"charlstm train -r {run} --resume --corpus PATH takes the text from another place\n"
    )
    assert "3 steps" in cli(*options, "--steps", 3, "--corpus", moved).stdout
    assert resume(run, 4) == 4  # from the place that it knows by now
    moved.rename(text)
    assert resume(run, 5, corpus=text) == 5
    assert len(events_of(run, "stop")) == 4


def test_another_text_is_refused(text, tmp_path, cli):
    run = charlstm.train(text, tmp_path / "run", **SHORT).path
    for content in (make_text(59), make_text(60).replace("a", "b", 1)):
        (tmp_path / "other").write_text(content)
        with pytest.raises(CharlstmError, match=r"has changed .*other: .* corpus=PATH"):
            resume(run, 3, corpus=tmp_path / "other")
    with pytest.raises(CharlstmError, match="has no `val_file`"):
        resume(run, 3, val_file=[text])
    assert "add --resume" in cli("train", "--corpus", text, code=2).stderr
    error = cli("train", text, "-r", run, "--resume", code=2).stderr
    assert "leave out CORPUS, or name the text's new place with --corpus" in error
    assert resume(run, 3) == 3


def test_a_moved_validation_text_is_named_too(text, tmp_path):
    held_out = shutil.copy(text, tmp_path / "held out")
    run = charlstm.train(text, tmp_path / "run", val_file=[held_out], **SHORT).path
    moved = shutil.move(held_out, tmp_path / "moved")
    with pytest.raises(CharlstmError, match=r"cannot read .*held out, the text of .*: No such"):
        resume(run, 3)
    assert resume(run, 3, val_file=[moved]) == 3


@pytest.mark.parametrize("theirs", ["secret", "same size", "pipe"])
def test_a_strangers_run_reads_no_other_file(text, tmp_path, monkeypatch, theirs):
    """Neither is it encoded, which would leave its content in the cache, nor is a pipe opened."""
    run = charlstm.train(text, tmp_path / "run", **SHORT).path
    secret = tmp_path / theirs
    if theirs == "pipe":
        os.mkfifo(secret)
    else:
        secret.write_text("x" * (text.stat().st_size - (theirs == "secret")))
    saved = load_checkpoint(run / LAST)
    saved.training["corpus"]["paths"] = [str(secret)]
    save_checkpoint(run / LAST, saved)
    hashed = []
    monkeypatch.setattr(corpora, "scan", lambda *_: pytest.fail("scanned"))
    real = corpora.TextFiles.digest
    monkeypatch.setattr(
        corpora.TextFiles, "digest", lambda *given: hashed.append(1) or real(*given)
    )
    message = "is not a regular file" if theirs == "pipe" else "has changed since it began"
    with pytest.raises(CharlstmError, match=rf"{message}.* corpus=PATH"):
        resume(run, 3)
    assert len(hashed) == (theirs == "same size")


@pytest.mark.parametrize("name", ["paths", "val_file"])
def test_a_path_that_is_no_string_is_refused(text, tmp_path, name):
    run = charlstm.train(text, tmp_path / "run", **SHORT).path
    saved = load_checkpoint(run / LAST)
    saved.training["corpus"][name] = [7]
    save_checkpoint(run / LAST, saved)
    with pytest.raises(CharlstmError, match=r"last\.safetensors: .*a path must be a string, not 7"):
        resume(run, 3)


def test_a_larger_folder_named_by_a_strangers_run_is_not_searched_to_its_end(
    text, tmp_path, monkeypatch
):
    run = charlstm.train(text, tmp_path / "run", **SHORT).path
    theirs = tmp_path / "theirs"
    for k in range(50):
        (theirs / f"{k}").mkdir(parents=True)
        (theirs / f"{k}" / "a.txt").write_bytes(text.read_bytes())
    saved = load_checkpoint(run / LAST)
    saved.training["corpus"]["paths"] = [str(theirs)]
    save_checkpoint(run / LAST, saved)
    looked_at, real = [], Path.is_file

    def is_file(path):
        looked_at.append(path)
        return real(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    with pytest.raises(CharlstmError, match=r"has changed since it began.* corpus=PATH"):
        resume(run, 3)
    assert len([path for path in looked_at if theirs in path.parents]) == 2
