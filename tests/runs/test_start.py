"""charlstm.train: its arguments, texts of all kinds, and what it refuses."""

from pathlib import Path

import pytest
from corpus_files import make_text
from run_files import BEST, SMALL, events_of

import charlstm
from charlstm import CharlstmError


def test_the_library_is_as_documented(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = charlstm.train(text_file, run="here", steps=5, hidden=8, layers=1)
    assert run.path == Path("here") and run.best_val_loss > 0
    model = charlstm.load(run.path)
    assert len(model.sample(50, prime="the")) == 50
    assert model.score("the cat").bits_per_character > 0
    assert (
        model.parameters.vector == charlstm.load("here/best.safetensors").parameters.vector
    ).all()
    several = charlstm.train([str(text_file), text_file], steps=1, hidden=4)
    assert several.path == Path("runs/small")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rnn_size": 5}, "unknown option 'rnn_size'"),
        ({"hidden": "x"}, "`hidden` must be int"),
        ({"batch_size": 0}, "`batch_size` must be 1 or more"),
        ({"val_frac": 1.0}, "`val_frac` must be"),
        ({"level": "syllable"}, "level"),
        ({"encoding": "hex"}, "not a text encoding"),
        ({"epochs": 1, "steps": 2}, "contradict"),
        ({"seed": -1}, r"`seed` must be 0 to 3\.40282e\+38"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(text_file, tmp_path, options, message):
    with pytest.raises(CharlstmError, match=message):
        charlstm.train(text_file, tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_path_is_an_error_not_the_current_folder(text_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("corpus", "run", "init_from", "val_file"):
        given = {"corpus": text_file, name: ""}
        with pytest.raises(CharlstmError, match=f"^`{name}` is empty: name a file or a folder"):
            charlstm.train(**given, **SMALL)
    for resume in ({}, {"resume": True}):
        with pytest.raises(CharlstmError, match="`run` is empty"):
            charlstm.train(run="", **resume)
    path = charlstm.train(text_file, "here", **SMALL).path
    monkeypatch.chdir(path)
    with pytest.raises(CharlstmError, match="`path` is empty"):
        charlstm.load("")
    with pytest.raises(CharlstmError, match="`path` is empty"):
        charlstm.save(charlstm.load("."), "")


# -- texts of all kinds ----------------------------------------------------------------------------


def test_a_tiny_corpus_trains_with_fewer_streams_and_says_so(tmp_path):
    (tmp_path / "t.txt").write_text("to be or not to be")
    events = []
    run = charlstm.train(
        tmp_path / "t.txt", tmp_path / "run", steps=5, hidden=4, observer=events.append
    )
    notices = " ".join(events[0]["notices"])
    assert "the text has room for only 1 stream of windows of 15" in notices
    assert run.best_val_loss > 0 and (run.path / BEST).exists()


@pytest.mark.parametrize("text", ["", "a", "ab", "aaaaaaaaaaaaaaaaaaaaa"])
def test_a_corpus_with_nothing_to_learn_is_refused(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(
        CharlstmError, match=r"too small to learn from|leaves 1 of 2 characters to learn from"
    ):
        charlstm.train(tmp_path / "t.txt", tmp_path / "run", steps=5)
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


def test_a_validation_file_of_its_own(text_file, tmp_path):
    (tmp_path / "val.txt").write_text(make_text(20, seed=7))
    events = []
    charlstm.train(
        text_file,
        tmp_path / "run",
        val_file=tmp_path / "val.txt",
        observer=events.append,
        **{**SMALL, "steps": 10},
    )
    assert events[0]["train_characters"] == len(text_file.read_text())
    assert events[0]["validation_characters"] == len(make_text(20, seed=7))


def test_unicode_text_is_learnt_by_code_points(tmp_path):
    text = "grüße 日本🎉\n" * 40
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    run = charlstm.train(tmp_path / "t.txt", tmp_path / "run", steps=150, hidden=24, lr=0.02)
    assert run.model.vocab.characters == "".join(sorted(set(text)))
    assert run.model.sample(10, prime="\n", temperature=0) == "grüße 日本🎉\n"


def test_a_huge_vocabulary_causes_a_notice(tmp_path):
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 5_100)))
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    events = []
    charlstm.train(
        tmp_path / "t.txt",
        tmp_path / "run",
        steps=1,
        hidden=2,
        batch_size=2,
        seq_length=8,
        val_frac=0,
        observer=events.append,
    )
    assert any("5,100 distinct" in n and '`level="byte"`' in n for n in events[0]["notices"])


def test_a_small_vocabulary_causes_no_notice(uninterrupted):
    assert events_of(uninterrupted.folder)[0]["notices"] == []


@pytest.mark.parametrize(("slots", "has_notice"), [(100_000, True), (1_000, False)])
def test_a_table_larger_than_the_text_can_use_causes_a_notice(
    text_file, tmp_path, slots, has_notice
):
    options = {**SMALL, "steps": 1, "ngrams": 3, "ngram_slots": slots}
    run = charlstm.train(text_file, tmp_path / "run", **options)
    (start,) = events_of(run.path, "start")
    most = 2 * start["train_characters"]
    notice = (
        f"`ngram_slots={slots}` is more than the text can use, at most {most:,}: a smaller table "
        "trains as well, and is saved faster"
    )
    assert (notice in start["notices"]) == has_notice
