"""The folder of a run: its name, and which files in it are kept or removed."""

import io
import os
from pathlib import Path

import pytest
from corpus_files import make_text
from run_files import BEST, LAST, SMALL, contents, events_of, weights_of

import charlstm
from charlstm import CharlstmError
from charlstm.runs.texts import standard_input_kept


def test_a_run_is_only_overwritten_with_overwrite(text_file, tmp_path):
    small = {**SMALL, "steps": 2}
    run = charlstm.train(text_file, tmp_path / "run", keep_every=1, **small)
    (run.path / "notes.txt").write_text("mine")
    before = contents(run.path)
    with pytest.raises(CharlstmError, match=r"holds a run already: .* `overwrite=True`"):
        charlstm.train(text_file, run.path, **small)
    with pytest.raises(CharlstmError, match="cannot read"):  # nor by what fails at once
        charlstm.train(tmp_path / "none.txt", run.path, overwrite=True, **small)
    assert contents(run.path) == before
    charlstm.train(text_file, run.path, overwrite=True, **{**small, "seed": 8})
    names = {BEST, LAST, "metrics.jsonl", "report.html", "notes.txt"}
    assert {path.name for path in run.path.iterdir()} == names
    assert events_of(run.path)[0]["config"]["seed"] == 8
    assert len(events_of(run.path, "stop")) == 1


def test_overwriting_keeps_the_text_in_the_folder(tmp_path):
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


def test_a_folder_without_a_checkpoint_holds_no_run(text_file, tmp_path):
    (tmp_path / "run").mkdir()
    metrics = '{"event": "start", "step": 0, "format": 1}\n'
    (tmp_path / "run" / "metrics.jsonl").write_text(metrics)
    charlstm.train(text_file, tmp_path / "run", **{**SMALL, "steps": 1})
    assert len(events_of(tmp_path / "run", "start")) == 1


def test_a_folder_with_only_checkpoints_of_keep_every_holds_a_run(text_file, tmp_path):
    small = {**SMALL, "steps": 2, "keep_every": 1}
    run = charlstm.train(text_file, tmp_path / "run", **small)
    for name in (BEST, LAST):
        (run.path / name).unlink()
    (run.path / "stdin-notes.txt").write_text("mine")
    with pytest.raises(CharlstmError, match="holds a run already"):
        charlstm.train(text_file, run.path, **small)
    charlstm.train(text_file, run.path, overwrite=True, **{**small, "keep_every": None})
    names = {BEST, LAST, "metrics.jsonl", "report.html", "stdin-notes.txt"}
    assert {path.name for path in run.path.iterdir()} == names


def test_runs_among_the_texts_of_a_folder_are_not_read_as_text(text_file, tmp_path, monkeypatch):
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
        charlstm.train(".", tmp_path, overwrite=True, **small)
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


def test_a_text_whose_name_is_as_long_as_names_may_be_gets_runs(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "é" * 127
    Path(name).write_bytes(text_file.read_bytes())
    paths = [charlstm.train(name, steps=1, hidden=4).path for _ in range(2)]
    assert paths == [Path("runs", "é" * 60), Path("runs", "é" * 60 + "-2")]


def test_a_folder_that_cannot_be_made_is_an_error(text_file, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CharlstmError, match=r"file is not a folder: name another"):
        charlstm.train(text_file, tmp_path / "file", steps=1)


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_saved_model_replaces_only_a_regular_file(trained, tmp_path, kind):
    path = tmp_path / "model.safetensors"
    (tmp_path / "file").write_text("mine")
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("file")
    with pytest.raises(CharlstmError, match="not a regular file"):
        charlstm.save(charlstm.load(trained), path)
    assert path.is_fifo() or path.is_symlink()
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["stdin-1.txt", "notes.txt"])
def test_a_folder_with_files_but_no_run_is_refused_and_stays_as_it_is(text_file, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(CharlstmError, match=rf"holds files but no run \({name}\): .*`overwrite=T"):
        charlstm.train(text_file, tmp_path, **SMALL)
    assert contents(tmp_path) == {name: b"mine"}


def test_overwriting_removes_no_file_of_the_users(text_file, tmp_path):
    mine = {"stdin-1.txt": b"mine", "notes.txt": b"mine", "step-1.safetensors.tmp": b"mine"}
    for name, content in mine.items():
        (tmp_path / name).write_bytes(content)
    for _ in range(2):
        charlstm.train(text_file, tmp_path, overwrite=True, **{**SMALL, "steps": 1})
        assert mine.items() <= contents(tmp_path).items()


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["lock", "metrics.jsonl", BEST, LAST, "step-000001.safetensors"])
def test_a_file_of_the_users_with_the_name_of_a_file_of_runs_is_refused(
    text_file, tmp_path, name, overwrite
):
    """Without --overwrite too, the message does not advise --overwrite, which would be refused."""
    (tmp_path / name).write_text("mine")
    with pytest.raises(CharlstmError, match=f"{name} was not written by charlstm: move it away"):
        charlstm.train(text_file, tmp_path, overwrite=overwrite, **SMALL)
    assert contents(tmp_path) == {name: b"mine"}


def test_a_free_folder_holds_no_files_of_the_users(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("lock", "notes.txt")):
        folder = Path("runs", text_file.stem + ("-2" if number else ""))
        folder.mkdir(parents=True)
        (folder / name).write_text("mine")
    run = charlstm.train(text_file, **{**SMALL, "steps": 1})
    assert run.path == Path("runs", f"{text_file.stem}-3")


def test_a_run_stays_in_its_folder_if_the_working_directory_changes(
    text_file, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(tmp_path)
    expected = charlstm.train(text_file, "expected", **SMALL)
    monkeypatch.chdir(tmp_path)
    events = []

    def leave(event):
        events.append(event)
        monkeypatch.chdir(elsewhere)

    run = charlstm.train(text_file, "run", observer=leave, **SMALL)
    assert run.path == Path("run") and events[0]["run"] == "run"
    assert list(elsewhere.iterdir()) == [] and not (tmp_path / "run" / "lock").exists()
    monkeypatch.chdir(tmp_path)
    assert weights_of(run.path / LAST) == weights_of(expected.path / LAST)
    assert events_of(run.path, "eval")[-1]["step"] == SMALL["steps"]


def test_the_copy_of_standard_input_is_removed_after_an_error_in_another_directory(
    tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text")))
    with pytest.raises(KeyError), standard_input_kept(Path(), ["-"]):
        assert (tmp_path / "stdin-1.txt").exists()
        monkeypatch.chdir(tmp_path / "elsewhere")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_metrics_without_the_start_of_their_run_are_replaced_only_on_request(text_file, tmp_path):
    """Removing a folder during training may leave such a file."""
    line = b'{"event": "eval", "step": 5, "epoch": 0, "seconds": 1.5, "val_loss": 2.5}\n'
    (tmp_path / "metrics.jsonl").write_bytes(line)
    with pytest.raises(CharlstmError, match=r"not the start of the run: `overwrite=True` replaces"):
        charlstm.train(text_file, tmp_path, **SMALL)
    assert contents(tmp_path) == {"metrics.jsonl": line}
    charlstm.train(text_file, tmp_path, overwrite=True, **{**SMALL, "steps": 1})
    metrics = contents(tmp_path)["metrics.jsonl"]
    assert metrics.startswith(b'{"event": "start", ') and line not in metrics
