"""--novelty of the commands sample and eval: the comparison with the training text, as printed."""

import json
import shutil

import pytest
from corpus_files import make_text

import charlstm
from charlstm.analysis.novelty import Comparison, Novelty
from charlstm.cli.novelty_report import novelty_lines
from charlstm.runs.folder import LAST
from charlstm.runs.texts import training_and_validation_ids

TINY = {"hidden": 4, "steps": 2, "batch_size": 2, "seq_length": 8, "workers": 1}


def novelty_of(cli, text, run, *options):
    """The figures of eval --novelty --json for a text."""
    result = cli("eval", "-", "-r", run, "--novelty", "--json", *options, input=text)
    return json.loads(result.stdout)["novelty"]


def test_a_copied_passage_is_found_in_the_training_text_but_not_in_the_held_out_text(
    cli, trained, text_file
):
    text = text_file.read_text()
    border = int(len(text) * 0.9)
    copied = text[1000:1120]
    figures = novelty_of(cli, f"ggg{copied}ggg", trained)
    assert figures["characters"] == 126 and figures["longest"] == 120
    assert figures["shares"]["100"] == pytest.approx(120 / 126)
    first = figures["stretches"][0]
    assert (first["start"], first["length"], first["place"]) == (3, 120, 1000)
    assert first["text"] == copied
    held_out = figures["held_out"]
    assert len(held_out["longest_of_pieces"]) == (len(text) - border) // 126 > 1
    assert held_out["characters"] == len(held_out["longest_of_pieces"]) * 126
    assert held_out["longest"] < 120 and held_out["shares"]["20"] > 0.2
    assert novelty_of(cli, text[border:], trained)["longest"] < 120


def test_eval_prints_the_report_after_its_figures(cli, trained, text_file, tmp_path):
    (tmp_path / "t.txt").write_text(text_file.read_text()[500:700])
    plain = cli("eval", tmp_path / "t.txt", "-r", trained).stdout
    shown = cli("eval", tmp_path / "t.txt", "-r", trained, "--novelty").stdout
    assert shown.startswith(plain)
    lines = shown.removeprefix(plain).splitlines()
    assert " ".join(lines[0].split()) == "shared with the training text this text held-out text"
    assert lines[1].split()[:4] == ["longest", "stretch,", "characters", "200"]
    assert lines[2].startswith("  in stretches of 20 or more") and " 100.0%" in lines[2]
    assert lines[5].startswith("(held-out text: 1 piece of 200 characters; longest stretch: ")
    assert lines[6].startswith("200 characters at 0, in the training text at 500: ")
    assert " ... " in lines[6] and len(lines) == 7
    as_json = json.loads(cli("eval", tmp_path / "t.txt", "-r", trained, "--json").stdout)
    assert "novelty" not in as_json


def test_the_report_fits_into_a_narrow_terminal():
    part = Comparison(symbols=63, longest=9, shares={20: 0.5, 100: 0.0}, lines=7, known_lines=3)
    novelty = Novelty(part, 1, part, [3, 4, 5, 6, 9], [])
    for columns in (40, 60, 80):
        lines = "\n".join(novelty_lines(novelty, "character", columns)).split("\n")
        assert max(map(len, lines)) <= columns
    wide = list(novelty_lines(novelty, "character"))
    assert lines[:5] == wide[:5] and len(wide) == 6
    lines = "\n".join(novelty_lines(novelty, "character", 60)).split("\n")
    assert lines[:3] == [
        "shared with the training text",
        "  longest stretch, characters: this text 9, held-out text 9",
        "  in stretches of 20 or more: this text 50.0%, held-out text",
    ]


def test_sample_prints_the_report_on_standard_error(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 150, "--prime", "the cat", "--seed", 4)
    plain = cli(*arguments)
    result = cli(*arguments, "--novelty")
    assert (result.stdout, plain.stderr) == (plain.stdout, "")
    sample = charlstm.load(trained).sample(150, prime="the cat", seed=4)
    figures = novelty_of(cli, sample, trained)
    lines = result.stderr.splitlines()
    assert lines[1].split()[3] == str(figures["longest"])
    assert lines[2].split()[6] == f"{figures['shares']['20']:.1%}"
    assert f': "{figures["stretches"][0]["text"]}"'.replace("\n", "\\n") in result.stderr


def test_stretches_of_several_samples_name_their_sample(cli, trained):
    arguments = ("sample", "-r", trained, "--length", 60, "--seed", 1, "--hide-prime")
    plain = cli(*arguments, "--count", 3)
    result = cli(*arguments, "--count", 3, "--novelty")
    assert result.stdout == plain.stdout
    stretches = [line for line in result.stderr.splitlines() if " in the training text at " in line]
    assert len(stretches) == 3
    samples = plain.stdout[:-1].split("\n---\n")
    for line in stretches:
        number = int(line.split(" of text ")[1].split(",")[0])
        text = line.split(': "')[1][:-1].replace("\\n", "\n")
        assert text in samples[number - 1]


def test_control_characters_are_made_visible(cli, tmp_path):
    text = make_text(30) + "the \x1b[2Jcat \u202e sees\x07 a\r\nlong dog.\n" + make_text(30, seed=1)
    (tmp_path / "t.txt").write_text(text, newline="")
    charlstm.train(tmp_path / "t.txt", tmp_path / "run", newlines="keep", **TINY)
    passage = text[text.index("the \x1b") :][:30]
    plain = cli("eval", "-", "-r", tmp_path / "run", input=passage)
    result = cli("eval", "-", "-r", tmp_path / "run", "--novelty", input=passage)
    assert r'"the \x1b[2Jcat \u202e sees\x07 a\r\nlo' in result.stdout
    assert not {"\x1b", "\u202e", "\x07", "\r"} & set(result.stdout)
    report = result.stdout.removeprefix(plain.stdout)
    assert report.count("\n") == 5 + 1 + 1  # the table, the pieces, the one stretch


def test_bytes_and_words_are_compared_as_such(cli, byte_run, word_run):
    figures = novelty_of(cli, "x日本語も。\ngrüße", byte_run)
    stretch = figures["stretches"][0]
    assert figures["longest"] == stretch["length"] == len("日本語も。\ngrüße".encode())
    assert stretch["start"] == 1 and stretch["text"] == "日本語も。\ngrüße"
    result = cli("sample", "-r", byte_run, "--length", 40, "--seed", 3, "--novelty")
    assert "longest stretch, bytes" in result.stderr
    line = next(line for line in make_text(80).splitlines() if len(line.split()) > 4)
    figures = novelty_of(cli, f"; {line.replace(' ', '   ')[:-1]}!", word_run)
    assert set(figures["shares"]) == {"5", "10", "20"}
    assert figures["stretches"][0]["text"] == line[:-1]
    words = len(line.split())
    assert figures["longest"] == words and figures["shares"]["5"] == words / (words + 2)


def test_a_model_of_lines_counts_the_lines_that_it_has_read(cli, tmp_path):
    names = [f"{a}{b}" for a in ("an", "bel", "cor", "dor") for b in ("na", "ina", "a", "us", "o")]
    (tmp_path / "t.txt").write_text("\n".join(names * 3) + "\n")
    charlstm.train(tmp_path / "t.txt", tmp_path / "run", lines=True, val_split="end", **TINY)
    figures = novelty_of(cli, "belus\ncorana\ndora\n", tmp_path / "run")
    assert (figures["lines"], figures["known_lines"]) == (3, 2)
    assert figures["held_out"]["lines"] == figures["held_out"]["known_lines"] > 0
    result = cli("eval", "-", "-r", tmp_path / "run", "--novelty", input="belus\ncorana\n")
    assert "known whole lines" in result.stdout and "1 of 2" in result.stdout
    result = cli("eval", "-", "-r", tmp_path / "run", "--novelty", input="an\n")
    note = "(there is no whole line in pieces of this length of held-out text to compare with)"
    assert note in result.stdout and "held-out text:" not in result.stdout


def test_a_run_without_held_out_text_and_one_with_a_file_of_it(cli, text_file, tmp_path):
    charlstm.train(text_file, tmp_path / "all", val_frac=0, **TINY)
    text = text_file.read_text()
    assert novelty_of(cli, text[-300:], tmp_path / "all")["held_out"] is None
    result = cli("eval", text_file, "-r", tmp_path / "all", "--novelty")
    assert "(there is no held-out text to compare with)" in result.stdout
    (tmp_path / "held-out.txt").write_text(make_text(20, seed=9))
    charlstm.train(text_file, tmp_path / "own", val_file=tmp_path / "held-out.txt", **TINY)
    assert novelty_of(cli, text[-300:], tmp_path / "own")["longest"] == 300
    held_out = novelty_of(cli, make_text(20, seed=9)[:300], tmp_path / "own")
    assert held_out["longest"] < 150 and len(held_out["held_out"]["longest_of_pieces"]) == 2


def test_a_checkpoint_in_the_folder_of_its_run_is_as_good_as_the_run(cli, trained, text_file):
    text = text_file.read_text()[:100]
    assert novelty_of(cli, text, trained / "best.safetensors") == novelty_of(cli, text, trained)
    split = training_and_validation_ids(trained)
    vocab = charlstm.load(trained).vocab
    assert vocab.decode(split.train) + vocab.decode(split.validation) == text_file.read_text()


def test_a_missing_training_text_is_refused_before_any_sample(
    cli, text_file, tmp_path, monkeypatch
):
    text = tmp_path / "text.txt"
    shutil.copy(text_file, text)
    run = charlstm.train(text, tmp_path / "run", **TINY).path
    advice = (
        ": --novelty needs the run's folder, and the text that the run was trained on, unchanged "
        "and at its old path\n"
    )
    shutil.copy(run / "best.safetensors", tmp_path / "alone.safetensors")
    refused = {
        tmp_path
        / "alone.safetensors": f"the training text is not known, as the run's folder has no {LAST}"
    }
    text.write_text(text.read_text() + "more")
    refused[run] = "the corpus of this run has changed since it began: "
    for path, message in refused.items():
        for command in (["sample"], ["eval", text_file]):
            result = cli(*command, "-r", path, "--novelty", code=1)
            assert result.stdout == "" and message in result.stderr
            assert result.stderr.endswith(advice) and result.stderr.count("\n") == 1
    text.unlink()
    result = cli("sample", "-r", run, "--novelty", code=1)
    refusal = f"charlstm: cannot read {text}, the text of {run}: No such file or directory"
    assert result.stderr == refusal + advice
    monkeypatch.setenv("CHARLSTM_CACHE_GB", "much")
    shutil.copy(text_file, text)
    result = cli("sample", "-r", run, "--novelty", code=1)
    assert result.stderr == (
        "charlstm: CHARLSTM_CACHE_GB must be a number of at least 0, not 'much'\n"
    )
    monkeypatch.undo()
    assert cli("sample", "-r", run, "--length", 5).stderr.startswith("seed ")


def test_an_endless_sample_has_no_report(cli, trained):
    result = cli("sample", "-r", trained, "--novelty", "--length", 0, code=2)
    assert (
        "--novelty prints only when the sample is finished: give a --length above 0"
        in result.stderr
    )
