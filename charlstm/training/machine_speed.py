"""How fast this machine trains: measured before a run with a time budget is planned."""

import time
from contextlib import closing
from dataclasses import replace
from statistics import median

import numpy as np

from charlstm.config import ModelConfig, TrainConfig, knobs_of
from charlstm.network.model import CharModel
from charlstm.text.vocab import Vocab
from charlstm.training.defaults import (
    MAX_NGRAM_WEIGHTS,
    SEQ_LENGTH,
    operations_per_symbol,
)
from charlstm.training.trainer import Trainer

# Units of each layer that are measured at most: larger models are up to a third faster.
MAX_MEASURED_HIDDEN = 256
SYMBOLS = 64
WARM_UP_STEPS, TIMED_STEPS = 2, 7


def operations_per_second(model: ModelConfig, config: TrainConfig) -> float:
    """Of a training step's matrix products, by a few steps of one layer of such a model.

    Small models make fewer in a second. It takes a quarter of a second where a step makes 100
    GFLOP/s.
    """
    slots = min(model.ngram_slots, MAX_NGRAM_WEIGHTS // SYMBOLS)  # also of a text of few symbols
    hidden = min(model.hidden, MAX_MEASURED_HIDDEN)
    small = CharModel(
        replace(model, hidden=hidden, layers=1, ngram_slots=slots, lines=False),
        Vocab.from_characters(map(chr, range(32, 32 + SYMBOLS))),
    )
    config = replace(
        config,
        schedule="constant",
        minutes=None,
        batch_size=knobs_of(TrainConfig)["batch_size"].train_default,
        seq_length=SEQ_LENGTH,
    )
    ids = np.random.default_rng(0).integers(SYMBOLS, size=64_000, dtype=np.uint8)
    times = []
    with closing(Trainer(small, ids, config)) as trainer:
        for _ in range(WARM_UP_STEPS + TIMED_STEPS):
            began = time.perf_counter()
            trainer.step()
            times.append(time.perf_counter() - began)
        operations = trainer.characters_per_step * operations_per_symbol(small.config, SYMBOLS)
    return operations / median(times[WARM_UP_STEPS:])
