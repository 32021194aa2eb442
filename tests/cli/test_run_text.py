"""eval and score read a text as the run did, and eval measures the run's own validation text."""

import json
import shutil

import pytest
from corpus_files import make_text

import charlstm

LAST = "last.safetensors"
TEXT = "grüße aus köln\r\nein alter ton\rschöne tage\n" * 60
SMALL = {"hidden": 4, "steps": 12, "batch_size": 4, "seq_length": 16, "workers": 1}


@pytest.fixture(scope="module")
def latin_run(tmp_path_factory):
    """A run on a text in Latin-1 with line ends of three kinds, read with newlines lf."""
    folder = tmp_path_factory.mktemp("latin")
    (folder / "t.txt").write_bytes(TEXT.encode("latin-1"))
    options = {"encoding": "latin-1", "newlines": "lf", **SMALL}
    return charlstm.train(folder / "t.txt", folder / "run", **options).path


def measured(cli, *arguments):
    return json.loads(cli("eval", *arguments, "--json").stdout)


def test_eval_and_score_read_a_text_as_the_run_did(latin_run, tmp_path, cli):
    text = latin_run.parent / "t.txt"
    own = measured(cli, text, "-r", latin_run)
    assert own == measured(cli, text, "-r", latin_run / "best.safetensors")
    given = ("--encoding", "latin-1", "--newlines", "lf")
    assert own == measured(cli, text, "-r", latin_run, *given)
    assert own["characters"] == len(TEXT.replace("\r\n", "\n")) - 1
    (tmp_path / "u.txt").write_bytes(TEXT.encode())
    assert own == measured(cli, tmp_path / "u.txt", "-r", latin_run, "--encoding", "utf-8")
    error = cli("eval", text, "-r", latin_run, "--newlines", "keep", code=1).stderr
    assert r"'\r'" in error
    lines = cli("score", text, "-r", latin_run).stdout.splitlines()
    expected = TEXT.replace("\r\n", "\n").replace("\r", "\n").splitlines()
    assert [json.loads(line)["text"] for line in lines] == expected


def test_without_the_settings_of_a_run_text_is_utf8_with_its_line_ends(latin_run, tmp_path, cli):
    for name in ("model.safetensors", "best.safetensors"):
        shutil.copy(latin_run / "best.safetensors", tmp_path / name)
    shutil.copy(latin_run / LAST, tmp_path / LAST)
    text = latin_run.parent / "t.txt"
    for place in (tmp_path / "model.safetensors",):  # is not of the run whose `last` is beside it
        assert "invalid UTF-8" in cli("eval", text, "-r", place, code=1).stderr
    (tmp_path / LAST).write_bytes(b"damaged")
    note, error = cli("eval", text, "-r", tmp_path, code=1).stderr.splitlines()
    assert note.startswith(f"note: {tmp_path / LAST}: not a checkpoint")
    assert note.endswith(": text is read as UTF-8, its line ends as they are")
    assert error.startswith("charlstm: ") and "invalid UTF-8" in error
    (tmp_path / "best.safetensors").write_bytes(b"damaged")
    error = cli("eval", text, "-r", tmp_path, code=1).stderr
    assert error.startswith(f"charlstm: {tmp_path / 'best.safetensors'}: not a checkpoint")
    assert error.count("\n") == 1


@pytest.mark.parametrize("options", [{}, {"val_file": "v.txt"}, {"lines": True}])
def test_eval_without_a_text_measures_the_runs_own_validation_text(tmp_path, cli, options):
    (tmp_path / "t.txt").write_text(make_text(100))
    (tmp_path / "v.txt").write_text(make_text(30))
    if "val_file" in options:
        options = {"val_file": tmp_path / "v.txt"}
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", **SMALL, **options)
    loss = measured(cli, "-r", run.path)["nats_per_character"]
    assert loss == pytest.approx(run.best_val_loss, rel=1e-6)
    assert measured(cli, "-r", run.path / "best.safetensors")["nats_per_character"] == loss
    (tmp_path / "t.txt").write_text(make_text(99))
    error = cli("eval", "-r", run.path, code=1).stderr
    assert error.count("\n") == 1 and "without TEXTS, eval needs the run's folder" in error
    assert "has changed since it began" in error and "charlstm train" not in error
    (run.path / LAST).unlink()
    error = cli("eval", "-r", run.path, code=1).stderr
    assert "the training text is not known" in error


def test_eval_without_a_text_needs_a_run_with_validation_text(text_file, tmp_path, cli):
    run = charlstm.train(text_file, tmp_path / "run", val_frac=0, **SMALL)
    error = cli("eval", "-r", run.path, code=1).stderr
    assert (
        error == f"charlstm: {run.path}: the run has no validation text: name a text to measure\n"
    )


def test_line_ends_are_read_as_lf_when_they_stand_on_two_pieces():
    from charlstm.cli.run_text import with_newlines

    assert "".join(with_newlines(["a\r", "\nb\r", "c\r"], "lf")) == "a\nb\nc\n"
    assert list(with_newlines(["a\r", "\n"], "keep")) == ["a\r", "\n"]
