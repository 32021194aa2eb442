"""Models and evaluations that cannot fit into memory are refused before they take any."""

import numpy as np
import pytest

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab
from charlstm.network.scoring import evaluate
from charlstm.system import memory
from charlstm.system.threads import Workers


def test_a_model_that_cannot_fit_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 4 * 10**9)
    config = ModelConfig(hidden=16_384, layers=64)
    with pytest.raises(CharlstmError, match="a model of 64 x 16384 units takes at least 546 GB"):
        CharModel(config, Vocab.bytes())


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("float64", 8)])
def test_the_needs_of_an_evaluation_include_all_workers(monkeypatch, dtype, size):
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
            with pytest.raises(CharlstmError, match=rf"^a batch of {batch_size} streams takes"):
                evaluate(model, ids, **options)


def test_an_evaluation_over_very_many_symbols_has_fewer_streams(monkeypatch):
    vocab = Vocab.from_characters(map(chr, range(0x20, 0x20 + 0xD000)))
    model, seen = CharModel(ModelConfig(hidden=1), vocab), []
    monkeypatch.setattr(
        "charlstm.network.scoring._nats_of_spans", lambda *given: seen.append(len(given[2])) or 1.0
    )
    for most in (2**24, 50 * 0xD000 * 2, 1):
        monkeypatch.setattr("charlstm.network.scoring.MAX_LOG_PROBABILITIES", most)
        evaluate(model, np.zeros(200_000, np.uint16))
    assert seen == [6, 2, 1]
