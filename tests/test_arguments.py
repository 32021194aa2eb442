"""Arguments of the library that have a wrong type, or are no path: the error names the argument."""

import io
import os
import re
from pathlib import Path

import numpy as np
import pytest

import charlstm
from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab

TEXT = "the cat sat on the mat\n" * 9
VOCAB = Vocab.from_text(TEXT)
CONFIG = ModelConfig(hidden=4, layers=1)
MODEL = CharModel(CONFIG, VOCAB, seed=1)
LINES = CharModel(ModelConfig(hidden=4, lines=True), VOCAB, seed=1)
IDS = VOCAB.encode(TEXT)
SETTINGS = TrainConfig(batch_size=2, seq_length=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trainer(MODEL, IDS, None), "`config` must be of type TrainConfig, not None"),
        (lambda: Trainer(IDS, MODEL, SETTINGS), r"`model` must be of type CharModel, not array\("),
        (lambda: Trainer(MODEL, 5, SETTINGS), "`ids` must be a 1-D array of whole numbers"),
        (lambda: Trainer(MODEL, IDS, SETTINGS, 5), "`ids` must be a 1-D array of whole numbers"),
        (lambda: CharModel(CONFIG, None), "`vocab` must be of type Vocab, not None"),
        (lambda: CharModel(VOCAB, CONFIG), "`config` must be of type ModelConfig, not Vocab"),
        (lambda: MODEL.score(b"abc"), "`text` must be of type str, not b'abc'"),
        (lambda: MODEL.score(["a", 5]), "`text` must be of type str, not 5"),
        (lambda: MODEL.score("a", workers=0), "`workers` must be 1 to 1,024, not 0"),
        (lambda: MODEL.score("a", workers=None), "`workers` must be a whole number, not None"),
        (lambda: MODEL.sample(5, workers="all"), "`workers` must be a whole number, not 'all'"),
        (lambda: MODEL.sample(5, count=0), "`count` must be 1 or more, not 0"),
        (lambda: MODEL.sample(5, count="2"), "`count` must be a whole number, not '2'"),
        (lambda: MODEL.score(None), "`text` must be of type str, not None"),
        (lambda: Vocab.from_text(None), "`text` must be of type str, not None"),
        (lambda: MODEL.sample(5, prime=b"x"), "`prime` must be of type str, not b'x'"),
        (lambda: MODEL.sample(5, prime=None), "`prime` must be of type str, not None"),
        (lambda: MODEL.stream(5, prime=None), "`prime` must be of type str, not None"),
        (lambda: LINES.sample_lines(5, prime=5), "`prime` must be of type str, not 5"),
        (lambda: LINES.sample_lines(5, known=5), "`known` must be of type Container, not 5"),
        (lambda: LINES.sample_lines(5, unique="no"), "`unique` must be of type bool, not 'no'"),
        (lambda: MODEL.sample(3, stop=5), "`stop` must be of type str, not 5"),
        (lambda: MODEL.sample(3, stop=["a", None]), "`stop` must be of type str, not None"),
        (lambda: MODEL.sample(3, whole="no"), "`whole` must be of type bool, not 'no'"),
        (
            lambda: MODEL.sample(3, temperature="auto"),
            "`temperature` is auto, a value for",
        ),
        (lambda: CharModel(ModelConfig(hidden="auto"), VOCAB), "`hidden` is auto, a value for"),
        (lambda: charlstm.save(5, "m"), "`model` must be of type CharModel, not 5"),
        (lambda: charlstm.save(MODEL, None), "`path` must be of type str or PathLike, not None"),
        (lambda: charlstm.load(None), "`path` must be of type str or PathLike, not None"),
        (lambda: charlstm.load(0), "`path` must be of type str or PathLike, not 0"),
        (lambda: charlstm.load(b"x"), "`path` must be of type str or PathLike, not b'x'"),
        (lambda: charlstm.train(None), "`corpus` must be of type str or PathLike, not None"),
        (lambda: charlstm.train(3), "`corpus` must be of type str or PathLike, not 3"),
        (lambda: charlstm.train(["a", 3]), "`corpus` must be of type str or PathLike, not 3"),
        (lambda: charlstm.train(b"t"), "`corpus` must be of type str or PathLike, not b't'"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CharlstmError, match=f"^{message}"):
        call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("run", b"x", "must be of type str or PathLike, not b'x'"),
        ("run", "runs/\ud800", r"has the character '\\ud800', which no path can have here"),
        ("init_from", 0, "must be of type str or PathLike, not 0"),
        ("val_file", 0, "must be of type str or PathLike, not 0"),
        ("mix", [None], "must be of type str or PathLike, not None"),
        ("observer", 5, "must be a function, not 5"),
        ("started", "now", "must be a number from .*, not 'now'"),
        *((name, "no", "must be of type bool, not 'no'") for name in ("quiet", "textbook")),
        *((name, 1, "must be of type bool, not 1") for name in ("resume", "overwrite")),
    ],
)
def test_train_refuses_an_argument_of_a_wrong_type_before_it_makes_anything(
    name, value, message, text_file, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CharlstmError, match=f"^`{name}` {message}"):
        charlstm.train(text_file, **{"run": tmp_path / "run", "steps": 1, name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["corpus", "val_file", "mix"])
def test_a_text_in_the_place_of_its_path_is_refused(text_file, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for text in ("To be,\nor not", "To be,\nor not " * 1_000):
        message = r"^To be,\\nor not.*: no such file or folder: write a text into a file first$"
        with pytest.raises(CharlstmError, match=message) as caught:
            charlstm.train(**{"corpus": text_file, name: text})
        assert len(str(caught.value)) < 150
    with pytest.raises(CharlstmError, match=f"^`{name}` must be of type str or PathLike, not <_io"):
        charlstm.train(**{"corpus": text_file, name: io.StringIO("abc")})
    Path("two\nlines").write_text("ab" * 500)
    assert charlstm.train("two\nlines", "run", steps=1, hidden=2).steps == 1


def test_a_path_that_is_too_long_is_refused_with_the_error_of_the_system(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = "x" * 5_000
    calls = {
        "corpus": lambda: charlstm.train(long),
        "run": lambda: charlstm.train("t.txt", run=long),
        "path": lambda: charlstm.load(long),
    }
    for name, call in calls.items():
        message = f"`{name}` cannot be read: File name too long: 'xxxx"
        with pytest.raises(CharlstmError, match=f"^{message}") as caught:
            call()
        assert isinstance(caught.value.__cause__, OSError) and len(str(caught.value)) < 150
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_is_refused_with_the_error_of_the_system(tmp_path):
    with pytest.raises(CharlstmError, match="no such file") as caught:
        charlstm.load(tmp_path / "none")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_all_objects_that_name_a_path_are_accepted(tmp_path):
    charlstm.save(MODEL, tmp_path / "m.safetensors")
    with os.scandir(tmp_path) as entries, os.scandir(os.fsencode(tmp_path)) as of_bytes:
        (entry,), (entry_of_bytes,) = entries, of_bytes
    same = charlstm.load(entry)
    assert np.array_equal(same.parameters.vector, MODEL.parameters.vector)
    with pytest.raises(CharlstmError, match=r"^`path` must be of type str, not b"):
        charlstm.load(entry_of_bytes)


def test_one_stop_string_or_several_are_accepted():
    text = MODEL.sample(60, seed=1)
    stop = text[10:12]
    for given in (stop, [stop], (each for each in ["not there", stop])):
        assert MODEL.sample(60, seed=1, stop=given) == text[: text.index(stop)]


def test_saving_replaces_any_regular_file(tmp_path):
    path = Path(tmp_path / "names.txt")
    path.write_text("anna\n")
    charlstm.save(MODEL, path)
    assert np.array_equal(charlstm.load(path).parameters.vector, MODEL.parameters.vector)
    assert re.search("regular file is replaced without a question", charlstm.save.__doc__)
