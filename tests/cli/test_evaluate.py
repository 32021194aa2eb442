"""charlstm eval: its figures, by their definitions."""

import json
import math
import tracemalloc
from functools import partial

import numpy as np
import pytest
from corpus_files import make_text
from stepwise_losses import losses_in_nats

import charlstm
from charlstm.analysis.dynamic_evaluation import DynamicConfig
from charlstm.analysis.evaluation import dynamic_evaluation_of
from charlstm.cli import evaluate
from charlstm.cli.text_input import read_text_for
from charlstm.network import scoring
from charlstm.runs.progress_bar import FittedBar
from charlstm.runs.texts import training_and_validation_ids
from charlstm.system.threads import Workers
from charlstm.text import sizes

KEYS = {
    "characters",
    "bytes",
    "nats_per_character",
    "bits_per_character",
    "bits_per_byte",
    "perplexity",
    "window",
    "dynamic",
}


def test_eval_prints_exactly_these_figures(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "t.txt").write_text(text)
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", trained, "--json").stdout)
    assert set(figures) == KEYS
    nats = losses_in_nats(charlstm.load(trained), text)
    assert figures["characters"] == figures["bytes"] == len(text) - 1 == len(nats)
    assert figures["nats_per_character"] == pytest.approx(np.mean(nats), rel=1e-5)
    assert figures["bits_per_character"] == pytest.approx(np.mean(nats) / math.log(2), rel=1e-5)
    assert figures["bits_per_byte"] == pytest.approx(figures["bits_per_character"])
    assert figures["perplexity"] == pytest.approx(math.exp(np.mean(nats)), rel=1e-5)
    assert figures["window"] is None and figures["dynamic"] is None
    shown = cli("eval", tmp_path / "t.txt", "-r", trained).stdout
    assert f"{figures['bits_per_character']:.4f}" in shown and "none, state carried" in shown


def test_files_and_standard_input_are_joined(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "a").write_text(text[:100])
    (tmp_path / "b").write_text(text[100:])
    (tmp_path / "ab").write_text(text)
    expected = cli("eval", tmp_path / "ab", "-r", trained, "--json").stdout
    assert cli("eval", tmp_path / "a", tmp_path / "b", "-r", trained, "--json").stdout == expected
    assert cli("eval", "-", "-r", trained, "--json", input=text).stdout == expected
    both = cli("eval", "-", tmp_path / "b", "-r", trained, "--json", input=text[:100]).stdout
    assert both == expected


@pytest.mark.parametrize(
    ("run_name", "options"),
    [("trained", []), ("trained", ["--window", 20]), ("word_run", []), ("line_run", [])],
)
def test_memory_does_not_grow_with_the_text(cli, request, tmp_path, monkeypatch, run_name, options):
    run = request.getfixturevalue(run_name)
    # small pieces and blocks, so that a short text has many
    monkeypatch.setattr(evaluate, "read_text_for", partial(read_text_for, chunk_bytes=1 << 10))
    monkeypatch.setattr(scoring, "BLOCK_LENGTH", 1 << 10)
    monkeypatch.setattr(sizes, "BLOCK_IDS", 1 << 10)
    monkeypatch.setattr(scoring, "DEFAULT_BATCH_SIZE", 2)
    monkeypatch.setattr(evaluate, "available_cores", lambda: 1)  # else the peak depends on chance
    text = "anna\n" * 800 if run_name == "line_run" else "the cat sees a dog.\n" * 200
    peaks = []
    for repeats in (1, 1, 8):  # the first run takes memory once, for modules and caches
        (tmp_path / "t.txt").write_text(text * repeats)
        tracemalloc.start()
        cli("eval", tmp_path / "t.txt", "-r", run, *options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1]


def test_cold_windows(cli, trained, tmp_path):
    text = make_text(8, seed=5)
    (tmp_path / "t.txt").write_text(text)
    model = charlstm.load(trained)
    figures = json.loads(
        cli("eval", tmp_path / "t.txt", "-r", trained, "--json", "--window", 64).stdout
    )
    expected = sum(
        sum(losses_in_nats(model, text[k : k + 65])) for k in range(0, len(text) - 1, 64)
    )
    assert figures["window"] == 64 and figures["characters"] == len(text) - 1
    assert figures["nats_per_character"] == pytest.approx(expected / (len(text) - 1), rel=1e-5)


def test_bits_are_given_per_byte_and_per_character(cli, tmp_path, byte_run):
    text = "grüße aus köln, 日本語も。\n" * 30
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    cli("train", tmp_path / "t.txt", "-r", tmp_path / "run", "--steps", 5, "--hidden", 8, "--quiet")
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", tmp_path / "run", "--json").stdout)
    assert figures["characters"] == len(text) - 1
    assert figures["bytes"] == len(text.encode()) - 1
    total = figures["bits_per_character"] * figures["characters"]
    assert figures["bits_per_byte"] == pytest.approx(total / figures["bytes"])
    figures = json.loads(cli("eval", tmp_path / "t.txt", "-r", byte_run, "--json").stdout)
    assert figures["characters"] == figures["bytes"] == len(text.encode()) - 1


def test_figures_of_a_model_of_words_are_per_word(cli, word_run, tmp_path):
    (tmp_path / "t.txt").write_text("the cat sees a dog .\n" * 40)
    arguments = ("eval", tmp_path / "t.txt", "-r", word_run)
    figures = json.loads(cli(*arguments, "--json").stdout)
    assert figures["bytes"] is figures["bits_per_byte"] is None
    assert figures["bits_per_character"] > 0 and figures["unit"] == "word"
    shown = cli(*arguments).stdout
    assert "bits per byte        not known of words" in shown
    assert f"bits per word        {figures['bits_per_character']:,.4f}" in shown
    assert f"words                {figures['characters']}" in shown and "character" not in shown
    scored = json.loads(cli("score", "-", "-r", word_run, input="the cat\n").stdout)
    assert (scored["unit"], scored["characters"]) == ("word", 2)


def test_a_model_of_lines_counts_the_symbols_of_all_lines_but_empty_ones(cli, line_run):
    for measured, characters, size in (
        ("grüße\n\n\nköln", 10, 13),
        ("g", 1, 1),
        ("\ngr\n", 3, 3),
    ):
        figures = json.loads(cli("eval", "-", "-r", line_run, "--json", input=measured).stdout)
        assert (figures["characters"], figures["bytes"]) == (characters, size)
        total = figures["bits_per_character"] * characters
        assert figures["bits_per_byte"] == pytest.approx(total / size)
    result = cli("eval", "-", "-r", line_run, input="\n\n", code=1)
    assert "empty lines has nothing to predict" in result.stderr
    result = cli("eval", "-", "-r", line_run, input="", code=1)
    assert result.stderr.startswith("charlstm: ") and "nothing to predict" in result.stderr


def test_a_note_says_when_lines_do_not_help_to_predict_one_another(cli, line_run, names):
    """Names in random order are independent; in the other text, each name is repeated."""
    drawn = np.random.default_rng(0).choice(names, 200)
    for lines, helps in ((drawn, False), (sorted(drawn), True)):
        arguments = ("eval", "-", "-r", line_run, "--json")
        usual = cli(*arguments, input="\n".join(lines))
        dynamic = cli(*arguments, "--dynamic", input="\n".join(lines))
        before, after = (json.loads(r.stdout)["nats_per_character"] for r in (usual, dynamic))
        assert (after < before) == helps
        note = f"note: without --dynamic the loss is lower, {before:.4f} nats: these lines do not"
        assert (note in dynamic.stderr) == (not helps) and "note" not in usual.stderr


def test_texts_that_cannot_be_measured_are_refused(cli, trained, byte_run, tmp_path):
    (tmp_path / "t.txt").write_text("the cät")
    (tmp_path / "empty.txt").write_text("")
    arguments = ("eval", tmp_path / "t.txt", "-r", trained)
    assert "no 'ä' (U+00E4)" in cli(*arguments, code=1).stderr
    assert json.loads(cli(*arguments, "--json", "--unknown", "skip").stdout)["characters"] == 5
    result = cli(*arguments, "--json", "--unknown", "replace")
    assert json.loads(result.stdout)["characters"] == 6 and "read as 'a'" in result.stderr
    assert "fewer than 2" in cli("eval", tmp_path / "empty.txt", "-r", trained, code=1).stderr
    assert "window must be 1" in cli(*arguments, "--unknown", "skip", "--window", 0, code=2).stderr
    latin = cli("eval", tmp_path / "t.txt", "-r", byte_run, "--encoding", "latin-1", code=1)
    assert "bytes as they are" in latin.stderr


@pytest.mark.parametrize(
    ("run", "unit"), [("trained", "character"), ("byte_run", "byte"), ("word_run", "word")]
)
def test_bars_count_in_the_unit_of_the_model(cli, text_file, monkeypatch, request, run, unit):
    folder = request.getfixturevalue(run)
    seen = {}

    class Bar(FittedBar):
        def __init__(self, total, unit, activity, *rest, **options):
            seen[activity] = unit
            super().__init__(total, unit, activity, *rest, **options)

    for module in ("progress_bar", "progress_display"):
        monkeypatch.setattr(f"charlstm.runs.{module}.FittedBar", Bar)
    result = cli("eval", text_file, "-r", folder, "--unknown", "skip", "--dynamic", "--novelty")
    for activity in ("measuring", "measuring gradients", "comparing"):
        assert seen[activity] == unit
    assert "\r" not in result.stderr and "%" not in result.stderr


@pytest.mark.parametrize(
    ("run_name", "arguments", "options"),
    [
        ("trained", {}, []),
        ("trained", {"window": 20, "batch_size": 3}, ["--window", 20, "--batch-size", 3]),
        ("trained", {"dynamic": True, "dynamic_rate": 1e-4, "dynamic_decay": 0.01},
         ["--dynamic", "--dynamic-rate", 1e-4, "--dynamic-decay", 0.01]),
        ("word_run", {}, []),
        ("byte_run", {}, []),
        ("line_run", {}, []),
    ],
)  # fmt: skip
def test_the_figures_are_those_of_the_library(cli, request, tmp_path, run_name, arguments, options):
    run = request.getfixturevalue(run_name)
    text = "anna\nköln\n" if run_name == "line_run" else make_text(8, seed=5)
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    shown = json.loads(cli("eval", tmp_path / "t.txt", "-r", run, "--json", *options).stdout)
    assert charlstm.evaluate(charlstm.load(run), text, **arguments).to_dict() == shown


def test_an_unknown_character_is_named_with_its_file_and_line(cli, trained, tmp_path):
    (tmp_path / "a.txt").write_text("the cat\na dog\n")
    (tmp_path / "b.txt").write_text("a dog\n" * 1_234 + "thé cat\n")
    arguments = ("eval", tmp_path / "a.txt", tmp_path / "b.txt", "-r", trained)
    place = f"{tmp_path / 'b.txt'}, line 1,235"
    assert f"{place}: the vocabulary has no 'é' (U+00E9)" in cli(*arguments, code=1).stderr
    assert cli(*arguments, "--unknown", "replace").stdout


def test_matches_are_found_in_the_training_text_of_the_run(cli, trained):
    model = charlstm.load(trained)
    split = training_and_validation_ids(trained)
    dynamic = dynamic_evaluation_of(model, DynamicConfig(), Workers(1))
    expected = dynamic.evaluate(split.validation, before=split.train)
    figures = json.loads(cli("eval", "-r", trained, "--dynamic", "--json").stdout)
    assert figures["nats_per_character"] == pytest.approx(expected.nats_per_character, rel=1e-6)
    assert expected.nats < dynamic.evaluate(split.validation).nats
