"""What cannot fit into memory is refused before it is taken."""

import gzip
import re

import numpy as np
import pytest

import charlstm
from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Vocab
from charlstm.network.scoring import evaluate
from charlstm.system import memory
from charlstm.system.memory import machine_memory, require_memory
from charlstm.system.threads import Workers
from charlstm.training import training_memory
from charlstm.training.training_memory import require_memory_to_train


def test_this_machine_has_some_gigabytes():
    found = machine_memory()
    assert found is None or 10**8 < found < 10**15


@pytest.fixture
def four_gigabytes(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * 10**9)


def test_more_than_there_is_is_refused_in_gigabytes(four_gigabytes, monkeypatch):
    require_memory(4 * 10**9, "this", "do that")
    with pytest.raises(CharlstmError) as caught:
        require_memory(12_600_000_000, "this", "do that")
    assert str(caught.value) == "this takes at least 13 GB, this machine has 4 GB: do that"
    with pytest.raises(CharlstmError):
        require_memory(10**400, "this", "do that")
    monkeypatch.setattr(memory, "machine_memory", lambda: None)
    require_memory(10**400, "this", "do that")


def test_a_model_is_refused_before_it_is_made(four_gigabytes):
    config = ModelConfig(hidden=16_384, layers=64)
    with pytest.raises(CharlstmError, match="a model of 64 x 16384 units takes at least 546 GB"):
        CharModel(config, Vocab.bytes())


# weights (65 + 256 + 1) * 1024 + 256 * 65 + 65, in gradients of two workers, moments, themselves
PARAMETERS = (65 + 256 + 1) * 1024 + 256 * 65 + 65


@pytest.mark.parametrize(
    ("settings", "lines", "numbers"),
    [
        ({}, False, 5 * PARAMETERS + 50 * 50 * (65 + 7 * 256)),
        ({"optimizer": "sgd", "average": 0.9}, False, 5 * PARAMETERS + 2500 * (65 + 7 * 256)),
        ({"batch_size": 10**9, "seq_length": 100}, False, 5 * PARAMETERS + 10_000 * (65 + 7 * 256)),
        ({"seq_length": 10**9}, False, 4 * PARAMETERS + 9_999 * (65 + 7 * 256)),
        ({"seq_length": 10**9}, True, 5 * PARAMETERS + 50 * 16 * (65 + 7 * 256)),
    ],
)
def test_what_training_takes_at_least(monkeypatch, settings, lines, numbers):
    found = []
    monkeypatch.setattr(training_memory, "require_memory", lambda needed, *_: found.append(needed))
    model = ModelConfig(hidden=256, layers=1, lines=lines)
    config = TrainConfig(workers=2, **settings)
    require_memory_to_train(10_000, 65, model, config)
    assert found == [4 * numbers]


@pytest.mark.parametrize(
    "options",
    [{"hidden": 16_384, "layers": 64}, {"seq_length": 10**9, "batch_size": 1, "hidden": 16_384}],
)
def test_a_run_that_cannot_fit_leaves_nothing(tmp_path, text_file, four_gigabytes, options):
    with pytest.raises(CharlstmError, match=r"takes at least [\d,]+ GB, this machine has 4 GB"):
        charlstm.train(text_file, tmp_path / "run", steps=1, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8)])
def test_an_evaluation_counts_what_all_workers_take_at_once(monkeypatch, dtype, size):
    model = CharModel(ModelConfig(hidden=4, layers=1, dtype=dtype), Vocab.bytes())
    ids = np.zeros(9_000, np.uint8)
    for workers, window, batch_size, steps in (
        (1, None, 8, 50),
        (2, None, 8, 50),
        (16, None, 8, 50),
        (1, 20, 8, 20),
        (3, 20, 24, 20),
    ):
        needed = batch_size * steps * (256 + 7 * 4) * size
        for room, fits in ((needed, True), (needed - 1, False)):
            monkeypatch.setattr(memory, "machine_memory", lambda room=room: room)
            options = {"window": window, "batch_size": 8, "workers": Workers(workers)}
            if fits:
                evaluate(model, ids, **options)
                continue
            with pytest.raises(
                CharlstmError, match=rf"^{batch_size} parts of the text side by side"
            ):
                evaluate(model, ids, **options)


def test_fewer_lanes_are_taken_where_there_are_very_many_symbols(monkeypatch):
    vocab = Vocab.from_characters(map(chr, range(0x20, 0x20 + 0xD000)))
    model, seen = CharModel(ModelConfig(hidden=1), vocab), []
    monkeypatch.setattr(
        "charlstm.network.scoring._nats_of_spans", lambda *given: seen.append(len(given[2])) or 1.0
    )
    for most in (2**24, 50 * 0xD000 * 2, 1):
        monkeypatch.setattr("charlstm.network.scoring.PROBABILITIES_AT_ONCE", most)
        evaluate(model, np.zeros(200_000, np.uint16))
    assert seen == [6, 2, 1]


def test_a_text_that_is_read_as_a_whole_must_fit(monkeypatch, trained, tmp_path, cli):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(5_000_000)))
    monkeypatch.setattr(memory, "machine_memory", lambda: 16 * 4_000_000)
    for arguments in (
        ("eval", tmp_path / "bomb.gz"),
        ("sample", "--prime-file", tmp_path / "bomb.gz"),
    ):
        error = cli(*arguments, "-r", trained, code=1).stderr
        assert re.search(r"^charlstm: a text of 4,\d+,\d+ characters or more takes at least", error)


def test_a_sample_of_too_many_texts_is_refused(trained, cli):
    error = cli("sample", "-r", trained, "--count", 10**12, code=1).stderr
    assert error.startswith("seed ") and "--count 1000000000000 takes at least" in error
