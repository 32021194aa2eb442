"""Checkpoint files: written and read to the bit; every bad file refused in one line."""

import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import assert_refused, read_file, write_file
from safetensors.numpy import save as save_arrays

from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Vocab, load, save
from charlstm.errors import UnwritableError
from charlstm.runs.checkpoint import FORMAT, Checkpoint, load_checkpoint, save_checkpoint

VOCAB = Vocab.from_text("ab\n\u00fc\U0001f389")


def make(dtype="float32", hidden=5, vocab=VOCAB):
    return CharModel(ModelConfig(hidden=hidden, layers=2, dtype=dtype), vocab, seed=2)


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.safetensors"
    save_checkpoint(path, Checkpoint(make(), {"step": 3}))
    return path


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("vocab", [VOCAB, Vocab.bytes(), Vocab.from_text("\ud800\udc00ab")])
def test_round_trip_to_the_bit(tmp_path, dtype, vocab):
    model = make(dtype, vocab=vocab)
    like = np.arange(len(model.parameters.vector), dtype=dtype)
    arrays = {"moments.mean": like, "moments.square": like + 1, "average": like / 3}
    arrays["state"] = np.ones((2, 2, 3, 5), dtype)
    config = TrainConfig(batch_size=3, average=0.5, precision="float32", workers=1)
    training = {"config": config.to_dict(), "seed": 2**127, "rate": 0.1, "text": "\u00fc"}
    path = tmp_path / "x"
    save_checkpoint(path, Checkpoint(model, {"step": 3, "loss": None}, training, arrays))
    got = load_checkpoint(path)
    assert got.model.parameters.vector.tobytes() == model.parameters.vector.tobytes()
    assert got.model.vocab == vocab and got.model.config == model.config
    assert (got.summary, got.training) == ({"step": 3, "loss": None}, training)
    assert got.arrays.keys() == arrays.keys()
    assert all(got.arrays[name].tobytes() == arrays[name].tobytes() for name in arrays)
    assert load(path).config == model.config


def test_one_file_without_code_holds_config_vocabulary_and_weights(good):
    metadata, arrays = read_file(good)
    assert metadata["format"] == FORMAT == 2
    assert metadata["vocab"] == {
        "level": "char",
        "symbols": ["\n", "a", "b", "\u00fc", "\U0001f389"],
    }
    assert set(arrays) == set(make().parameters)
    assert [path.name for path in good.parent.iterdir()] == [good.name]


def test_the_same_state_gives_the_same_bytes(good):
    first = good.read_bytes()
    save_checkpoint(good, Checkpoint(make(), {"step": 3}))
    assert good.read_bytes() == first


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_never_saved(good, value):
    before = good.read_bytes()
    model = make()
    model.parameters["layers.1.Wh"][2, 3] = value
    with pytest.raises(
        CharlstmError, match=r"good\.safetensors: the checkpoint is not written, as some weights"
    ):
        save_checkpoint(good, Checkpoint(model, {}))
    assert good.read_bytes() == before
    assert list(good.parent.iterdir()) == [good]


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(CharlstmError, match=r"x: cannot write [\d,]+ bytes: No such file"):
        save_checkpoint(tmp_path / "none" / "x", Checkpoint(make(), {}))


def test_save_writes_a_model_that_load_reads(tmp_path):
    model = make()
    model.parameters["head.b"][...] = np.arange(len(VOCAB))
    save(model, str(tmp_path / "my.safetensors"))
    again = load(tmp_path / "my.safetensors")
    assert again.config == model.config and again.vocab == model.vocab
    np.testing.assert_array_equal(again.parameters.vector, model.parameters.vector)
    assert again.sample(50, seed=1) == model.sample(50, seed=1)
    with pytest.raises(UnwritableError, match="cannot write"):
        save(model, tmp_path / "none" / "x.safetensors")


def test_metadata_that_could_not_be_read_again_are_not_written(tmp_path, monkeypatch):
    checkpoint = Checkpoint(make(), {"step": 1}, {}, {})
    monkeypatch.setattr("charlstm.runs.safetensors_reader.MAX_VALUES", 10)
    with pytest.raises(CharlstmError, match=r"not written: the JSON text has too many values"):
        save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(good, part):
    data = good.read_bytes()
    good.write_bytes(data[: int(part * len(data))])
    assert_refused(good, "not a checkpoint of charlstm")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert_refused(tmp_path / "none.safetensors", "no such file")
    with pytest.raises(CharlstmError, match="not a checkpoint of charlstm"):
        load_checkpoint(tmp_path)
    with pytest.raises(CharlstmError, match="no run in this folder"):
        load(tmp_path)


CHANGES = {
    "older format": ("format", 1, "(format 1, this program reads format 2)"),
    "newer format": ("format", 3, "(format 3, this program reads format 2)"),
    "format of another type": ("format", "2", "(format '2', this program reads format 2)"),
    "hidden": (
        "model",
        {"hidden": 6, "layers": 2},
        "layers.0.Wx is F32 of shape (5, 20), expected F32 of shape (5, 24)",
    ),
    "layers": ("model", {"hidden": 5, "layers": 3}, "layers.2.Wx is missing"),
    "fewer layers": ("model", {"hidden": 5, "layers": 1}, "unknown array 'layers.1.Wh'"),
    "dtype": ("model", {"hidden": 5, "layers": 2, "dtype": "float64"}, "layers.0.Wx is F32"),
    "enormous": ("model", {"hidden": 16_384, "layers": 64}, "expected F32 of shape (5, 65536)"),
    "beyond": ("model", {"hidden": 10**9}, "`hidden` must be 1 to 16,384"),
    "no object": ("model", 7, "must be a JSON object"),
    "type": ("model", {"hidden": "5"}, "`hidden` must be int"),
    "field": ("model", {"hidden": 5, "heads": 3}, "unknown field 'heads'"),
    "vocab size": (
        "vocab",
        {"level": "char", "symbols": ["a", "b"]},
        "expected F32 of shape (2, 20)",
    ),
    "vocab order": ("vocab", {"level": "char", "symbols": ["b", "a"]}, "vocabulary"),
    "vocab twice": ("vocab", {"level": "char", "symbols": ["a", "a"]}, "vocabulary"),
    "vocab long": ("vocab", {"level": "char", "symbols": ["ab", "c"]}, "vocabulary"),
    "vocab level": ("vocab", {"level": "syllable"}, "vocabulary"),
    "vocab list": ("vocab", ["a", "b"], "vocabulary"),
    "summary": ("summary", [1, 2], "not a checkpoint"),
    "training": ("training", 3, "not a checkpoint"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_metadata_that_do_not_fit_are_refused(good, name):
    key, value, message = CHANGES[name]
    metadata, arrays = read_file(good)
    write_file(good, {**metadata, key: value}, arrays)
    assert_refused(good, message)


def test_a_file_without_a_format_is_refused(good):
    metadata, arrays = read_file(good)
    del metadata["format"]
    write_file(good, metadata, arrays)
    assert_refused(good, "(format 'none', this program reads format 2)")


@pytest.mark.parametrize("key", ["model", "vocab", "summary", "training"])
def test_missing_metadata_are_refused(good, key):
    metadata, arrays = read_file(good)
    del metadata[key]
    write_file(good, metadata, arrays)
    assert_refused(good, f"not a checkpoint of charlstm ({key} is missing)")


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("head.W", None, "head.W is missing"),
        (
            "head.W",
            np.zeros((5, 4), np.float32),
            "head.W is F32 of shape (5, 4), expected F32 of shape (5, 5)",
        ),
        ("head.b", np.zeros(5), "head.b is F64 of shape (5,)"),
        ("head.b", np.zeros(5, np.int32), "head.b has type 'I32', not F16, F32 or F64"),
        ("head.b", np.full(5, np.nan, np.float32), "some weights are not finite"),
        ("head.c", np.zeros(5, np.float32), "unknown array 'head.c'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(good, name, array, message):
    metadata, arrays = read_file(good)
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    write_file(good, metadata, arrays)
    assert_refused(good, message)


def test_nothing_is_left_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_bytes(b"good")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(CharlstmError, match=r"x: cannot write .* No space left on device"):
        save_checkpoint(path, Checkpoint(make(), {}))
    assert path.read_bytes() == b"good" and list(tmp_path.iterdir()) == [path]


def test_the_checksum_is_the_sha256_of_the_file_without_it(good):
    content = good.read_bytes()
    metadata, _ = read_file(good)
    without = content.replace(metadata["checksum"].encode(), b"0" * 64)
    assert metadata["checksum"] == hashlib.sha256(without).hexdigest()
    metadata.pop("checksum")
    assert list(metadata) == ["format", "model", "summary", "training", "vocab"]


def test_a_changed_weight_or_letter_is_found_by_the_checksum(good):
    content = bytearray(good.read_bytes())
    content[-2] ^= 1  # a weight
    good.write_bytes(content)
    assert_refused(good, "the file is damaged: its checksum differs")
    content[-2] ^= 1
    good.write_bytes(bytes(content).replace(b"step", b"stop"))
    assert_refused(good, "the file is damaged: its checksum differs")


def test_the_checksum_must_be_there_and_no_unknown_entry_beside_it(good):
    metadata, arrays = read_file(good)
    checksum = metadata.pop("checksum")
    good.write_bytes(save_arrays(arrays, {"charlstm": json.dumps(metadata)}))
    assert_refused(good, "not a checkpoint of charlstm (checksum is missing)")
    metadata["chEcksum"] = checksum
    good.write_bytes(save_arrays(arrays, {"charlstm": json.dumps(metadata)}))
    assert_refused(good, "unknown entry 'chEcksum'")


def test_no_memory_is_taken_for_arrays_that_the_file_does_not_hold(good):
    metadata, arrays = read_file(good)
    arrays["layers.0.Wx"] = arrays["layers.0.Wx"][:, :0]
    write_file(good, {**metadata, "model": {"hidden": 16_384, "layers": 64}}, arrays)
    tracemalloc.start()
    assert_refused(good, "layers.0.Wx is F32 of shape (5, 0), expected F32 of shape (5, 65536)")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("moments.mean", None, "training.moments.mean is missing"),
        (
            "moments.mean",
            (3,),
            "training.moments.mean is F32 of shape (3,), expected F32 of shape (470,)",
        ),
        ("moments.extra", (3,), "unknown array 'training.moments.extra'"),
        ("average", (470,), "unknown array 'training.average'"),
        (
            "state",
            (2, 2, 4, 5),
            "training.state is F32 of shape (2, 2, 4, 5), expected F32 of shape (2, 2, 3, 5)",
        ),
        ("state", np.inf, "not finite"),
    ],
)
def test_arrays_of_the_training_state_must_fit_its_config(tmp_path, name, value, message):
    path, model = tmp_path / "last.safetensors", make()
    like = np.zeros_like(model.parameters.vector)
    arrays = {"moments.mean": like, "moments.square": like}
    arrays["state"] = np.zeros((2, 2, 3, 5), np.float32)
    config = TrainConfig(batch_size=3, precision="float32", workers=1)
    save_checkpoint(path, Checkpoint(model, {}, {"config": config.to_dict()}, arrays))
    metadata, arrays = read_file(path)
    if value is None:
        del arrays["training." + name]
    elif value == np.inf:
        arrays["training." + name][0, 0, 0, 0] = value
    else:
        arrays["training." + name] = np.zeros(value, np.float32)
    write_file(path, metadata, arrays)
    assert_refused(path, message)


@pytest.mark.parametrize("value", [{"a": {}}, {"a": [1]}, {"a": "x" * 101}, {"x" * 101: 1}])
def test_a_summary_holds_numbers_and_short_texts_only(good, value):
    metadata, arrays = read_file(good)
    write_file(good, {**metadata, "summary": value}, arrays)
    assert_refused(good, "neither a number nor a short text")


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "not a regular file")


def test_a_panic_of_safetensors_is_a_lack_of_memory(trained, tmp_path, monkeypatch):
    class PanicException(BaseException):
        """As pyo3 names the errors of Rust."""

    def panic(*arguments):
        raise PanicException("called `Option::unwrap()` on a `None` value")

    model = load(trained)
    monkeypatch.setattr("charlstm.runs.checkpoint.save", panic)
    with pytest.raises(
        MemoryError, match=r"x\.safetensors: the checkpoint is not written: not enough memory"
    ):
        save(model, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
