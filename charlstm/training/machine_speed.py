"""The training speed of this machine, measured before a run with a time budget is planned."""

import time
from contextlib import closing
from dataclasses import replace
from statistics import median

import numpy as np

from charlstm.config import ModelConfig, TrainConfig, knobs_of
from charlstm.network.model import CharModel
from charlstm.text.vocab import Vocab
from charlstm.training.defaults import SEQ_LENGTH, operations_per_symbol
from charlstm.training.engine import Engine
from charlstm.training.trainer import Trainer

# The largest hidden size that is measured. A model with more hidden units does up to a third more
# operations per second than the measurement says.
MAX_MEASURED_HIDDEN = 256
# A larger table of n-grams would only take longer to make: a step touches few of its rows.
MAX_MEASURED_ROWS = 2**17
VOCAB_SIZE = 64
TEXT_LENGTH = 64_000
WARM_UP_STEPS, TIMED_STEPS = 2, 7


def operations_per_second(
    model: ModelConfig, config: TrainConfig, engine: Engine | None = None
) -> float:
    """Measure the floating-point operations per second of a training step's matrix products.

    A model with one layer of the given cell and hidden size trains for a few steps on random text.
    The hidden size matters, as a small model makes fewer operations per second. The measurement
    takes a quarter of a second at 100 GFLOP/s.

    engine: as for Trainer.
    """
    one_layer = replace(
        model,
        hidden=min(model.hidden, MAX_MEASURED_HIDDEN),
        layers=1,
        ngram_slots=min(model.ngram_slots, MAX_MEASURED_ROWS),
        lines=False,
    )
    config = replace(
        config,
        schedule="constant",
        minutes=None,
        batch_size=knobs_of(TrainConfig)["batch_size"].train_default,
        seq_length=SEQ_LENGTH,
    )
    vocab = Vocab.from_characters(map(chr, range(32, 32 + VOCAB_SIZE)))
    ids = np.random.default_rng(0).integers(VOCAB_SIZE, size=TEXT_LENGTH, dtype=np.uint8)
    seconds = []
    with closing(Trainer(CharModel(one_layer, vocab), ids, config, engine=engine)) as trainer:
        for _ in range(WARM_UP_STEPS + TIMED_STEPS):
            began = time.perf_counter()
            trainer.step()
            seconds.append(time.perf_counter() - began)
        operations = trainer.symbols_per_step * operations_per_symbol(one_layer, VOCAB_SIZE)
    return operations / median(seconds[WARM_UP_STEPS:])
