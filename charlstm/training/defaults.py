"""What `charlstm train` chooses where the user does not say: size, rate and regularisation.

The rule was fitted on runs of several texts and budgets: `scripts/recipe sweep` prints them.
"""

import math
from typing import Any

from charlstm.config import AUTO, ModelConfig, TrainConfig, knobs_of
from charlstm.network.layers import layer_of
from charlstm.network.precision import resolve_precision
from charlstm.text.batches import fit_batch

SEQ_LENGTH = 64

# Models from the smallest to the largest: (layers, units of each); two layers have skip
# connections.
SIZES = [(1, n) for n in (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)]
SIZES += [(2, n) for n in (384, 512, 640, 768, 1024)]
# A model is not too large for a budget in which it can read so many characters: times the cube root
# of the budget in tera-operations, since with ten times the budget both model and text should be
# larger; and times the length of the text in SHORT_TEXTs to the power of 0.4, since what is read
# for the first time teaches more than what is read again. Texts beyond LONG_TEXT were not measured.
CHARACTERS_TO_READ = 3_000_000
SHORT_TEXT, LONG_TEXT = 1_000_000, 10_000_000
MOST_WEIGHTS = 4  # for each character of training text; with more, too much is learned by heart

# The table of n-grams: its longest context, rows by the size of the text, most weights (34 MB), and
# the rows below which so many symbols, as words are, leave it no use.
NGRAMS = 6
CHARACTERS_A_SLOT = 2
MOST_NGRAM_WEIGHTS = 2**23
FEWEST_SLOTS = 1024
# What a table learns by heart grows with the passes over the text, unless its rate falls with them:
# NGRAM_LR * passes ** NGRAM_LR_POWER, but no higher than MOST_NGRAM_LR.
NGRAM_LR = 0.67
NGRAM_LR_POWER = -0.75
MOST_NGRAM_LR = 0.25

# Adam's highest rate, which a run of more than SHORT_RUN steps lowers: LR * (SHORT_RUN / steps)
# ** LR_POWER. Above it, GRU and RNN explode; an LSTM with capped gates has nothing to win.
LR = {"lstm": 2e-2, "gru": 1e-2, "rnn": 2e-3}
SHORT_RUN = 5_000
LR_POWER = 0.75

# Operations of matrix products in a run that is given no end: three minutes at 115 GFLOP/s.
OPERATIONS = 20e12
MOST_PASSES = 40  # of such a run over its text, but it has 1,000 steps for them at least

# How much of a text can be learned by heart grows with the passes over it and with the weights for
# each of its characters. Dropout for each doubling of the product of both above LEARNED, and the
# most of it; and beside a table of n-grams, which leaves less to be learned by heart.
LEARNED = 0.25
DROPOUT, MOST_DROPOUT = 0.06, 0.5
DROPOUT_BESIDE_TABLE, MOST_BESIDE_TABLE = 0.04, 0.3

LONGEST_LINE, TYPICAL_LINE = 256, 32  # symbols, for a model of lines

LONGEST_WARMUP = 100  # steps
STOP_AFTER = 5  # evaluations in a row without a new best
EVALUATIONS = 10  # over a run, and at least one every so many steps:
MAX_STEPS_BETWEEN_EVALUATIONS = 1_000


def operations_per_symbol(model: ModelConfig, symbols: int) -> int:
    """Of a training step's matrix products: two for each multiply-add, forward and backward.

    The gathered input of the first layer counts as nothing.
    """
    gates = len(layer_of(model).GATES)
    recurrent, between = model.layers, model.layers - 1
    products = (recurrent + between) * gates * model.hidden**2
    return 6 * (products + model.layers_seen * model.hidden * symbols)


def choose_settings(
    characters: int,
    model: ModelConfig,
    train: TrainConfig,
    *,
    symbols: int = 100,
    operations: float = OPERATIONS,
) -> tuple[ModelConfig, TrainConfig]:
    """Replace each AUTO in the settings asked for by a value that suits the text and the time.

    characters: length of the training text, in symbols. symbols: number of distinct ones.
    operations: floating-point operations that there is time for.
    """
    asked_model, asked = model, train
    model = _largest(asked_model, characters, symbols, operations)
    chosen = {name: one.train_default for name, one in knobs_of(TrainConfig).items()}
    chosen["seq_length"] = LONGEST_LINE if model.lines else SEQ_LENGTH
    chosen |= asked.given
    batch_size, seq_length = fit_batch(characters, chosen["batch_size"], chosen["seq_length"])
    per_step = batch_size * (TYPICAL_LINE if model.lines else seq_length)
    steps = chosen["steps"]
    if chosen["epochs"] is not None:
        steps = int(chosen["epochs"] * characters / per_step)
    elif steps is None:
        steps = max(1, int(operations / (per_step * operations_per_symbol(model, symbols))))
        if chosen["minutes"] is None:
            most = max(1_000, MOST_PASSES * characters // per_step)
            steps = chosen["steps"] = min(steps, most)
        if chosen["stop_after"] == AUTO:  # not where steps or epochs are counted: all are wanted
            chosen["stop_after"] = STOP_AFTER
    rules: dict[str, Any] = {"warmup": min(LONGEST_WARMUP, steps // 10)}
    if chosen["optimizer"] == "adam":
        rate = LR[model.cell] * min(1, (SHORT_RUN / max(1, steps)) ** LR_POWER)
        rules |= {"lr": float(f"{rate:.3g}"), "beta2": 0.99}
    passes = steps * per_step / characters
    per_doubling, largest = DROPOUT, MOST_DROPOUT
    if model.ngrams:
        per_doubling, largest = DROPOUT_BESIDE_TABLE, MOST_BESIDE_TABLE
        rate = NGRAM_LR * max(passes, 1) ** NGRAM_LR_POWER
        rules["ngram_lr"] = float(f"{min(MOST_NGRAM_LR, rate):.2g}")
    learned = passes * _weights(model, symbols) / characters
    doublings = math.log2(max(1.0, learned / LEARNED))
    rules["dropout"] = rules["weight_dropout"] = round(min(largest, per_doubling * doublings), 2)
    if model.layers > 1:
        dropout = rules["dropout"] if chosen["dropout"] == AUTO else chosen["dropout"]
        rules["dropout_between"] = round(dropout / 2, 2)
    constants = {name: value for name, value in chosen.items() if value != AUTO}
    train = asked.completed({**rules, **constants})
    resolve_precision(train.precision, model)  # refuses a precision that this model cannot have
    return model, train


def _ngrams(characters: int, symbols: int) -> dict[str, int]:
    """The table of n-grams for a text."""
    most = max(1, MOST_NGRAM_WEIGHTS // symbols)
    ngrams = NGRAMS if most >= FEWEST_SLOTS else 0
    return {"ngrams": ngrams, "ngram_slots": min(most, max(1, characters // CHARACTERS_A_SLOT))}


def _largest(asked: ModelConfig, characters: int, symbols: int, operations: float) -> ModelConfig:
    """The largest model of SIZES that fits the settings asked for, the time and the text."""
    rules: dict[str, Any] = {"capped": asked.cell in ("lstm", AUTO), **_ngrams(characters, symbols)}
    model = asked.completed({"layers": 1, "hidden": SIZES[0][1], **rules})
    if asked.hidden != AUTO:
        return model
    to_read = CHARACTERS_TO_READ * (operations / 1e12) ** (1 / 3)
    to_read *= (min(max(characters, SHORT_TEXT), LONG_TEXT) / SHORT_TEXT) ** 0.4
    for layers, hidden in SIZES:
        skip = layers > 1 and asked.layers == AUTO
        larger = asked.completed({"layers": layers, "hidden": hidden, "skip": skip, **rules})
        if _weights(larger, symbols) <= _weights(model, symbols):
            continue  # with layers asked for, two small ones come after a large one
        can_read = operations / operations_per_symbol(larger, symbols)
        if can_read >= to_read and _weights(larger, symbols) <= MOST_WEIGHTS * characters:
            model = larger
    return model


def _weights(model: ModelConfig, symbols: int) -> float:
    """Those of matrix products: each serves for a multiply-add forward and two backward."""
    return operations_per_symbol(model, symbols) / 6


def steps_between_evaluations(config: TrainConfig, total_steps: int) -> int:
    """Steps between evaluations, where the end is known from the beginning."""
    if config.eval_every != AUTO:
        return config.eval_every
    return min(MAX_STEPS_BETWEEN_EVALUATIONS, max(1, total_steps // EVALUATIONS))
