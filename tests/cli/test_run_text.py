"""eval and score read a text as the run did, and eval measures the run's own validation text."""

import json
import shutil

import pytest
from corpus_files import make_text

import charlstm
from charlstm.runs.checkpoint import load_checkpoint, save_checkpoint
from charlstm.runs.texts import corpus_settings

LAST = "last.safetensors"
TEXT = "grüße aus köln\r\nein alter ton\rschöne tage\n" * 60
SMALL = {"hidden": 4, "steps": 12, "batch_size": 4, "seq_length": 16, "workers": 1}
SMALL_OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
FURTHER = {name: value for name, value in SMALL.items() if name != "hidden"}


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
    assert note.endswith(
        ": without --encoding, text is read as UTF-8; without --newlines, carriage returns are "
        "kept only if the model knows them"
    )
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


NOTE = "read as \\n: --newlines keep leaves them as they are"


def test_windows_line_ends_are_read_as_lines_with_one_note(tmp_path, cli):
    text = make_text(60)
    (tmp_path / "lf.txt").write_text(text, newline="\n")
    windows = tmp_path / "windows.txt"
    windows.write_bytes(text.replace("\n", "\r\n").encode() + b"one\rtwo")
    result = cli("train", windows, "-r", tmp_path / "run", *SMALL_OPTIONS)
    assert f"note: {text.count(chr(10)) + 1} line ends (\\r\\n or \\r) {NOTE}" in result.stderr
    assert result.stderr.count(NOTE) == 1
    assert (
        NOTE not in cli("train", tmp_path / "lf.txt", "-r", tmp_path / "lf", *SMALL_OPTIONS).stderr
    )
    assert NOTE not in cli("eval", windows, "-r", tmp_path / "run").stderr
    model = charlstm.load(tmp_path / "run")
    assert "\r" not in model.vocab.characters
    corpus = corpus_settings(tmp_path / "run")
    assert corpus.newlines == "lf"
    (tmp_path / "p.txt").write_bytes(b"the\r\ncat")
    options = ("-r", tmp_path / "run", "--length", 20, "--seed", 1)
    primed = cli("sample", *options, "--prime-file", tmp_path / "p.txt")
    assert primed.stdout == cli("sample", *options, "--prime", "the\\ncat").stdout
    assert (
        cli(
            "inspect",
            "gates",
            tmp_path / "p.txt",
            "-r",
            tmp_path / "run",
            "--output",
            tmp_path / "g.html",
        ).stderr.count("unknown")
        == 0
    )


def test_an_html_page_is_trained_on_with_a_note_and_a_document_refused(tmp_path, cli):
    page, document = tmp_path / "page.html", tmp_path / "a.pdf"
    page.write_text("<!doctype html>" + make_text(60))
    document.write_bytes(b"%PDF-1.4\n" + make_text(60).encode())
    result = cli("train", page, "-r", tmp_path / "run", *SMALL_OPTIONS)
    assert f"note: {page} is HTML: the model learns its tags" in result.stderr
    refused = [
        cli("train", document, "-r", tmp_path / "no", code=1),
        cli("eval", document, "-r", tmp_path / "run", code=1),
        cli("score", document, "-r", tmp_path / "run", code=1),
        cli("sample", "--prime-file", document, "-r", tmp_path / "run", code=1),
    ]
    for each in refused:
        assert each.stderr.startswith(f"charlstm: {document} is a PDF document, not plain text: ")
        assert each.stderr.count("\n") == 1 and each.stdout == ""
    assert not (tmp_path / "no").exists()


def test_line_ends_that_are_kept_are_kept_in_every_command(tmp_path, cli):
    windows, again = tmp_path / "w.txt", tmp_path / "again.txt"
    windows.write_bytes(make_text(60).replace("\n", "\r\n").encode())
    run = charlstm.train(windows, tmp_path / "run", newlines="keep", **SMALL)
    assert "\r" in charlstm.load(run.path).vocab.characters
    size = len(windows.read_bytes()) - 1
    assert measured(cli, windows, "-r", run.path)["characters"] == size
    shutil.copy(run.path / "best.safetensors", tmp_path / "alone.safetensors")
    assert measured(cli, windows, "-r", tmp_path / "alone.safetensors")["characters"] == size
    shown = cli("sample", "-r", run.path, "--length", 1, "--prime-file", windows).stdout_bytes
    assert shown.startswith(windows.read_bytes())
    again.write_bytes(windows.read_bytes())
    further = charlstm.train(again, tmp_path / "further", init_from=run.path, **FURTHER)
    assert corpus_settings(further.path).newlines == "keep"


def test_a_model_alone_reads_windows_line_ends_as_lines(tmp_path, cli):
    (tmp_path / "t.txt").write_text(make_text(60), newline="\n")
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", newlines="keep", **SMALL)
    shutil.copy(run.path / "best.safetensors", tmp_path / "alone.safetensors")
    (tmp_path / "w.txt").write_bytes(make_text(60).replace("\n", "\r\n").encode())
    alone = measured(cli, tmp_path / "w.txt", "-r", tmp_path / "alone.safetensors")
    assert alone == measured(cli, tmp_path / "t.txt", "-r", tmp_path / "alone.safetensors")
    # A run that recorded "keep" reads other texts as it read its own.
    assert r"'\r'" in cli("eval", tmp_path / "w.txt", "-r", run.path, code=1).stderr


def test_level_byte_reads_line_ends_as_they_are(byte_run, tmp_path, cli):
    (tmp_path / "w.txt").write_bytes(make_text(60).replace("\n", "\r\n").encode())
    run = charlstm.train(tmp_path / "w.txt", tmp_path / "run", level="byte", **SMALL)
    assert corpus_settings(run.path).newlines == "keep"
    size = (tmp_path / "w.txt").stat().st_size - 1
    assert measured(cli, tmp_path / "w.txt", "-r", run.path)["characters"] == size
    for newlines in ("keep", "lf"):
        error = cli("eval", tmp_path / "w.txt", "-r", run.path, "--newlines", newlines, code=1)
        assert error.stderr.startswith("charlstm: --newlines has no effect for a model of bytes")
        for options in ({"level": "byte"}, {"init_from": run.path}):
            with pytest.raises(
                charlstm.CharlstmError, match="`newlines` has no effect with `level="
            ):
                charlstm.train(tmp_path / "w.txt", newlines=newlines, **options)


def test_an_unknown_encoding_in_a_file_is_no_wrong_usage(cli, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    saved = load_checkpoint(tmp_path / "run" / LAST)
    saved.training["corpus"]["encoding"] = "klingon"
    save_checkpoint(tmp_path / "run" / LAST, saved)
    for command in (["info"], ["eval", "-r"], ["train", "--resume", "-r"]):
        error = cli(*command, tmp_path / "run", code=1).stderr.splitlines()[-1]
        assert error.startswith(f"charlstm: {tmp_path}/run/{LAST}: ") and "klingon" in error
