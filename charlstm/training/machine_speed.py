"""The training speed of this machine, measured before a run with a time budget is planned."""

import time
from contextlib import closing
from dataclasses import replace
from statistics import median

import numpy as np

from charlstm.config import ModelConfig, TrainConfig, knobs_of
from charlstm.network.model import CharModel
from charlstm.text.vocab import Vocab
from charlstm.training.defaults import MAX_NGRAM_WEIGHTS, SEQ_LENGTH, operations_per_symbol
from charlstm.training.trainer import Trainer

# The largest hidden size that is measured. A model with more hidden units does up to a third more
# operations per second than the measurement says.
MAX_MEASURED_HIDDEN = 256
SYMBOLS = 64
CHARACTERS = 64_000
WARM_UP_STEPS, TIMED_STEPS = 2, 7


def operations_per_second(model: ModelConfig, config: TrainConfig) -> float:
    """Measure the floating-point operations per second of a training step's matrix products.

    A model with one layer of the given cell and hidden size trains for a few steps on random text.
    The hidden size matters, as a small model makes fewer operations per second. The measurement
    takes a quarter of a second at 100 GFLOP/s.
    """
    one_layer = replace(
        model,
        hidden=min(model.hidden, MAX_MEASURED_HIDDEN),
        layers=1,
        # The user's model may have fewer than SYMBOLS symbols, and so more rows in its table than
        # MAX_NGRAM_WEIGHTS allows for SYMBOLS symbols.
        ngram_slots=min(model.ngram_slots, MAX_NGRAM_WEIGHTS // SYMBOLS),
        lines=False,
    )
    config = replace(
        config,
        schedule="constant",
        minutes=None,
        batch_size=knobs_of(TrainConfig)["batch_size"].train_default,
        seq_length=SEQ_LENGTH,
    )
    vocab = Vocab.from_characters(map(chr, range(32, 32 + SYMBOLS)))
    ids = np.random.default_rng(0).integers(SYMBOLS, size=CHARACTERS, dtype=np.uint8)
    seconds = []
    with closing(Trainer(CharModel(one_layer, vocab), ids, config)) as trainer:
        for _ in range(WARM_UP_STEPS + TIMED_STEPS):
            began = time.perf_counter()
            trainer.step()
            seconds.append(time.perf_counter() - began)
        operations = trainer.characters_per_step * operations_per_symbol(one_layer, SYMBOLS)
    return operations / median(seconds[WARM_UP_STEPS:])
