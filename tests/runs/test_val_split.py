"""Which text a run is validated on: the end of the text, or lines drawn from all of it."""

import pytest
from run_files import LAST, arrays_of, copy_of, events_of, measurements

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
    return [vocab.decode(ids).splitlines() for ids in training_and_validation_ids(folder)]


def test_lines_are_validated_on_lines_drawn_by_the_seed(name_files, tmp_path):
    run = charlstm.train(name_files, tmp_path / "run", **SMALL).path
    train, held_out = lines_of(run)
    assert sorted(train + held_out) == sorted(NAMES[:120] + NAMES[90:])
    assert not set(train) & set(held_out)
    assert held_out[0] < "e" and held_out[-1] > "i"
    start = events_of(run, "start")[0]
    assert start["notices"] == [
        "the validation text is 10% of the text, in lines drawn at random: --val-split end takes "
        "the last lines"
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


def test_other_text_is_validated_on_its_end(name_files, tmp_path):
    for options in ({"lines": True, "val_split": "end"}, {"lines": False}):
        run = charlstm.train(name_files, tmp_path / "run", overwrite=True, **SMALL | options).path
        held_out = lines_of(run)[1]
        text = "".join(path.read_text() for path in name_files)
        assert text.endswith("\n".join(held_out) + "\n")
        (notice,) = events_of(run, "start")[0]["notices"]
        assert notice.startswith("the validation text is the last 10% of all 2 files joined")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_split": "random", "lines": False}, "--val-split random draws lines: add --lines"),
        ({"val_split": "end", "val_file": "1.txt"}, "give --val-file or --val-split, not both"),
        ({"val_split": "each"}, "val_split must be one of end, random, not 'each'"),
    ],
)
def test_contradictions_are_refused(name_files, tmp_path, options, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(name_files, tmp_path / "run", **SMALL | options)
