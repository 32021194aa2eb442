"""Which text a run is validated on: the end of all files or of each, or lines drawn from all."""

import json

import numpy as np
import pytest
from corpus_files import make_text
from run_files import (
    LAST,
    arrays_of,
    assert_equal_runs,
    copy_of,
    events_of,
    measurements,
    train_with_copies,
)

import charlstm
from charlstm import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.texts import training_and_validation_ids

NAMES = sorted(f"{a}{b}{c}" for a in "abcdefghijklm" for b in "aeiou" for c in ("n", "lia", "rt"))
SMALL = {"hidden": 4, "steps": 20, "eval_every": 10, "batch_size": 8, "workers": 1, "lines": True}


@pytest.fixture
def name_files(tmp_path):
    """Two files of sorted names, the second of which repeats some of the first."""
    (tmp_path / "1.txt").write_text("\n".join(NAMES[:120]) + "\n")
    (tmp_path / "2.txt").write_text("\n".join(NAMES[90:]) + "\n")
    return [tmp_path / "1.txt", tmp_path / "2.txt"]


def lines_of(folder):
    """The lines that a run was trained on and those that it was validated on."""
    vocab = load_checkpoint(folder / LAST).model.vocab
    split = training_and_validation_ids(folder)
    return [vocab.decode(ids).splitlines() for ids in (split.train, split.validation)]


def test_lines_are_validated_on_lines_drawn_by_the_seed(name_files, tmp_path):
    run = charlstm.train(name_files, tmp_path / "run", **SMALL).path
    train, held_out = lines_of(run)
    assert sorted(train + held_out) == sorted(NAMES[:120] + NAMES[90:])
    assert not set(train) & set(held_out)
    assert held_out[0] < "e" and held_out[-1] > "i"
    start = events_of(run, "start")[0]
    assert start["notices"] == [
        "the validation text is 10% of the text, in lines drawn at random: "
        '`val_split="end"` takes the last lines'
    ]
    assert start["validation_characters"] == sum(len(line) + 1 for line in held_out)
    other = charlstm.train(name_files, tmp_path / "other", seed=1, **SMALL).path
    assert lines_of(other)[1] != held_out
    assert load_checkpoint(run / LAST).training["corpus"]["val_split"] == "random"


def test_a_resumed_run_is_validated_on_the_same_lines(name_files, tmp_path):
    half = charlstm.train(name_files, tmp_path / "half", seed=5, **SMALL | {"steps": 10}).path
    halves = lines_of(half)
    charlstm.train(run=half, resume=True, steps=20)
    assert lines_of(half) == halves
    whole = charlstm.train(name_files, tmp_path / "whole", seed=5, **SMALL).path
    assert lines_of(whole) == halves
    copy = copy_of(whole, tmp_path / "copy")
    assert charlstm.train(run=copy, resume=True).reason == "finished"
    assert (arrays_of(copy / LAST), measurements(copy)) == (
        arrays_of(whole / LAST),
        measurements(whole),
    )


def test_the_end_of_a_text_of_lines_begins_with_a_whole_line(name_files, tmp_path):
    for fraction in (0.1, 0.101, 0.102, 0.103):
        options = SMALL | {"val_split": "end", "val_frac": fraction, "steps": 1, "overwrite": True}
        run = charlstm.train(name_files, tmp_path / "run", **options)
        train, held_out = lines_of(run.path)
        assert train + held_out == NAMES[:120] + NAMES[90:]
        assert 22 <= len(held_out) <= 24


def test_the_end_of_all_files_joined_can_be_held_out(name_files, tmp_path):
    for options in ({"lines": True, "val_split": "end"}, {"lines": False, "val_split": "end"}):
        run = charlstm.train(name_files, tmp_path / "run", overwrite=True, **SMALL | options).path
        held_out = lines_of(run)[1]
        text = "".join(path.read_text() for path in name_files)
        assert text.endswith("\n".join(held_out) + "\n")
        (notice,) = events_of(run, "start")[0]["notices"]
        assert notice == (
            "the validation text is the last 10% of all 2 files joined: "
            '`val_split="each"` takes the end of each file, `val_file` another text'
        )


STREAMS = SMALL | {"lines": False}


@pytest.fixture
def texts(tmp_path):
    """A folder of three files: one of 3,000 characters, one of 400, and one of 9."""
    (tmp_path / "texts").mkdir()
    for name, size in (("a", 3_000), ("b", 400), ("c", 9)):
        text = make_text(150, seed=size).replace("cat", name * 3)[:size]
        (tmp_path / "texts" / f"{name}.txt").write_text(text)
    return tmp_path / "texts"


def end_of_each(folder):
    texts = [path.read_text() for path in sorted(folder.iterdir())]
    return [texts[0][2_700:], texts[1][360:]]


def test_several_files_are_validated_on_the_end_of_each(texts, tmp_path):
    run = charlstm.train(texts, tmp_path / "run", **STREAMS).path
    (start,) = events_of(run, "start")
    assert start["notices"] == [
        "the validation text is the last 10% of each of 2 of the 3 files (the others are too "
        'small): `val_split="end"` takes the end of all files joined, `val_file` another text'
    ]
    assert (start["train_characters"], start["validation_characters"]) == (3_069, 340)
    assert load_checkpoint(run / LAST).training["corpus"]["val_split"] == "each"
    split, vocab = training_and_validation_ids(run), charlstm.load(run).vocab
    parts = np.split(split.validation, split.starts[1:])
    assert [vocab.decode(part) for part in parts] == end_of_each(texts)


def test_eval_measures_the_end_of_each_file_like_the_run(texts, tmp_path, cli):
    run = charlstm.train(texts, tmp_path / "run", **STREAMS | {"average": 0.0}).path

    def measured(*options):
        return json.loads(cli("eval", "-r", run, "--json", *options).stdout)

    figures = measured()
    assert figures["nats_per_character"] == events_of(run, "eval")[-1]["val_loss"]
    assert figures["characters"] == figures["bytes"] == 338
    model, nats = charlstm.load(run), []
    for text in end_of_each(texts):
        (tmp_path / "part").write_text(text)
        alone = json.loads(cli("eval", tmp_path / "part", "-r", run, "--json").stdout)
        nats.append(alone["nats_per_character"] * (len(text) - 1))
    assert figures["nats_per_character"] == pytest.approx(sum(nats) / 338, rel=1e-6)
    assert measured("--window", 20)["characters"] == 338
    dynamic = measured(
        "--dynamic", "--dynamic-rate", 0, "--dynamic-ngram-lr", 0, "--dynamic-match", 0
    )
    assert dynamic["characters"] == 338
    assert dynamic["nats_per_character"] == pytest.approx(sum(nats) / 338, rel=1e-5)
    assert measured("--novelty")["novelty"]["longest"] > 0 and model.vocab.level == "char"


@pytest.mark.parametrize("level", ["char", "byte", "word"])
def test_a_run_validated_on_each_file_is_resumed_bit_for_bit(texts, tmp_path, level):
    whole = train_with_copies(texts, tmp_path, level=level, steps=20, workers=1, lines=False)
    assert set(whole.copies) == {0, 10, 20}
    for copy in whole.copies.values():
        assert charlstm.train(run=copy, resume=True).reason == "finished"
        assert_equal_runs(copy, whole.folder)


def test_one_file_is_validated_on_its_end(texts, tmp_path):
    ways = {"default": {}, "end": {"val_split": "end"}, "each": {"val_split": "each"}}
    for name, way in ways.items():
        charlstm.train(texts / "a.txt", tmp_path / name, **STREAMS | way)
        assert events_of(tmp_path / name, "start")[0]["notices"] == []
        assert_equal_runs(tmp_path / name, tmp_path / "default")


def test_a_validation_file_or_no_validation_text_replaces_the_split(texts, tmp_path):
    held_out = tmp_path / "held out"
    held_out.write_text(make_text(9))
    run = charlstm.train(texts, tmp_path / "1", val_file=held_out, **STREAMS).path
    (start,) = events_of(run, "start")
    assert (start["train_characters"], start["notices"]) == (3_409, [])
    assert start["validation_characters"] == len(make_text(9))
    run = charlstm.train(texts, tmp_path / "2", val_frac=0.0, **STREAMS).path
    (start,) = events_of(run, "start")
    assert (start["train_characters"], start["validation_characters"]) == (3_409, 0)
    assert start["notices"] == ["no validation text: best.safetensors holds the latest weights"]


@pytest.mark.parametrize(
    ("options", "notice"),
    [
        (
            {"val_frac": 1e-300},
            "`val_frac=1e-300` holds out too little of each of the 3 files, give a larger "
            '`val_frac`, `val_split="end"` or `val_file`',
        ),
        (
            {"val_frac": 1e-300, "val_split": "end"},
            "`val_frac=1e-300` holds out too little of the text, give a larger `val_frac`, or "
            "`val_file`",
        ),
    ],
)
def test_a_notice_names_a_fraction_that_holds_out_nothing(texts, tmp_path, options, notice):
    run = charlstm.train(texts, tmp_path / "run", **STREAMS | options).path
    (start,) = events_of(run, "start")
    end = "best.safetensors holds the latest weights"
    assert start["notices"] == [f"no validation text: {notice}; {end}"]


@pytest.mark.parametrize("split", ["each", "end"])
def test_a_fraction_that_leaves_nothing_to_learn_from_is_refused(texts, tmp_path, split):
    with pytest.raises(
        CharlstmError,
        match=r"^`val_frac=0\.9999999999999` leaves 0 of 3,409 characters to learn from, at least "
        r"2 are needed: give a smaller `val_frac`, such as 0\.1, or a longer text$",
    ):
        options = {"val_frac": 0.9999999999999, "val_split": split}
        charlstm.train(texts, tmp_path / "run", **STREAMS | options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"val_split": "random", "lines": False},
            '`val_split="random"` draws lines: add `lines',
        ),
        ({"val_split": "end", "val_file": "1.txt"}, "give `val_file` or `val_split`, not both"),
        ({"val_split": "each"}, '`val_split="each"` may cut a line of each file: with `lines'),
        ({"val_split": "all"}, "`val_split` must be one of end, each, random, not 'all'"),
    ],
)
def test_contradictions_are_refused(name_files, tmp_path, options, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(name_files, tmp_path / "run", **SMALL | options)
