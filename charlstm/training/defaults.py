"""The settings that `charlstm train` chooses itself: model size, learning rates, regularisation.

They follow from two numbers: the length of the training text, and the floating-point operations
that there is time for. Two ideas connect them. A larger model learns more from each character, but
reads fewer characters in the same time, so that its size depends on the time. And a model overfits
by learning the text by heart, which takes many passes over it and many weights for each character:
the product of both determines how strongly it is regularised.

The constants were fitted on runs of one seed each, most of which
`scripts/benchmarks/defaults.py sweep --print` shows. Comments below quote their validation losses,
in nats per character.
"""

import math
from typing import Any

from charlstm.config import AUTO, ModelConfig, TrainConfig, knobs_of
from charlstm.network.layers import layer_of
from charlstm.network.precision import resolve_precision
from charlstm.text.batches import fit_batch

# -- the length of a run -------------------------------------------------------------------------

# Of a run without an end: three minutes at 115 GFLOP/s, the rate of two cores. A number of
# operations instead of a time, so that the run can be repeated.
DEFAULT_OPERATIONS = 20e12
# Such a run ends earlier on a short text: further passes improve little. But even a tiny text needs
# enough steps to learn anything.
MAX_PASSES, MIN_STEPS = 40, 1_000
STOP_AFTER = 5  # evaluations without a new best; not if the user asks for steps or epochs
EVALUATIONS_PER_RUN = 10
MAX_STEPS_BETWEEN_EVALUATIONS = 1_000

SEQ_LENGTH = 64  # time steps; 128 give 1.504 instead of 1.482
MAX_LINE, TYPICAL_LINE = 256, 32  # symbols of a line, for a model of lines

# -- the size of the model -----------------------------------------------------------------------

# From the smallest to the largest: (layers, hidden units). Two layers have skip connections.
SIZES = [(1, n) for n in (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)]
SIZES += [(2, n) for n in (384, 512, 640, 768, 1024)]

# The model is the largest one with time to read enough characters: this number in one
# tera-operation, times the cube root of the tera-operations. The model and the text that it reads
# both grow with the time: 1.5 tera-operations do best with 128 to 160 units, 14 with 256 (1.392;
# with 192 and with 320 units 1.406).
CHARACTERS_TO_READ = 3_000_000
# A longer text deserves a smaller model that reads more of it, as new text teaches more than text
# that is read again: it has to read more by the 0.4th power of its length in SHORT_TEXTs. On 10 MB
# of source code in three minutes, 160 units reach 1.138 and 96 units 1.159. Texts beyond LONG_TEXT
# were not measured.
SHORT_TEXT, LONG_TEXT, TEXT_POWER = 1_000_000, 10_000_000, 0.4
# Weights in matrix products for each character of training text. With more, a model overfits.
MAX_WEIGHTS_PER_CHARACTER = 4

# -- the table of n-grams ------------------------------------------------------------------------

LONGEST_NGRAM_CONTEXT = 6  # characters, with 1.428; 4 give 1.449, 8 give 1.448
CHARACTERS_PER_SLOT = 2  # with 15 characters per row, 100 kB of text have 1.499 instead of 1.472
MAX_NGRAM_WEIGHTS = 2**23  # 34 MB
MIN_NGRAM_SLOTS = 1024  # with fewer, contexts collide too often: no table then

# The table learns by heart what it meets again and again, unless its rate falls with the passes
# over the text: NGRAM_LR * passes ** NGRAM_LR_POWER, at most MAX_NGRAM_LR. In 46 passes over 100
# kB, a rate of 0.25 gives 1.464 and 0.05 gives 1.397; within one pass, 0.25 and 0.5 are equal.
NGRAM_LR, NGRAM_LR_POWER, MAX_NGRAM_LR = 0.67, -0.75, 0.25

# -- the learning rate ---------------------------------------------------------------------------

# Adam's peak rate by cell. With higher ones GRUs and RNNs diverge, and LSTMs gain nothing.
LR = {"lstm": 2e-2, "gru": 1e-2, "rnn": 2e-3}
# A run of more than SHORT_RUN steps has a lower rate: LR * (SHORT_RUN / steps) ** LR_POWER. After
# 10,664 steps, a rate of 0.02 gives 1.181 and 0.012 gives 1.159.
SHORT_RUN, LR_POWER = 5_000, 0.75
MAX_WARMUP = 100  # steps
ADAM_BETA2 = 0.99

# -- dropout -------------------------------------------------------------------------------------

# No dropout up to this product of the passes over the text and the weights for each character.
MEMORY_WITHOUT_DROPOUT = 0.25
# Dropout for each doubling of the product above that, and the largest dropout; also beside a table
# of n-grams, which leaves the network less to learn by heart. On 1 MB with 256 units beside the
# table, half of an earlier dropout gives 1.378 instead of 1.386.
DROPOUT_PER_DOUBLING, MAX_DROPOUT = 0.06, 0.5
DROPOUT_PER_DOUBLING_BESIDE_TABLE, MAX_DROPOUT_BESIDE_TABLE = 0.04, 0.3


def choose_settings(
    characters: int,
    model: ModelConfig,
    train: TrainConfig,
    *,
    symbols: int = 100,
    operations: float = DEFAULT_OPERATIONS,
) -> tuple[ModelConfig, TrainConfig]:
    """Replace each AUTO in the settings of a run by a value that suits the text and the time.

    characters: the length of the training text, in symbols. symbols: the number of distinct ones.
    operations: the floating-point operations in matrix products that there is time for.
    """
    model = _choose_model(model, characters, symbols, operations)
    constants = {name: one.train_default for name, one in knobs_of(TrainConfig).items()}
    constants = {name: value for name, value in constants.items() if value != AUTO}
    constants["seq_length"] = MAX_LINE if model.lines else SEQ_LENGTH
    known = constants | train.given

    batch_size, seq_length = fit_batch(characters, known["batch_size"], known["seq_length"])
    per_step = batch_size * (TYPICAL_LINE if model.lines else seq_length)
    affordable = max(1, int(operations / (per_step * operations_per_symbol(model, symbols))))
    stop_after = STOP_AFTER
    if known["steps"] is not None:
        steps, stop_after = known["steps"], 0
    elif known["epochs"] is not None:
        steps, stop_after = int(known["epochs"] * characters / per_step), 0
    elif known["minutes"] is not None:
        steps = affordable
    else:
        enough = max(MIN_STEPS, MAX_PASSES * characters // per_step)
        steps = constants["steps"] = min(affordable, enough)

    passes = steps * per_step / characters
    rules = {
        "stop_after": stop_after,
        "warmup": min(MAX_WARMUP, steps // 10),
        **_learning_rates(model, known["optimizer"], steps, passes),
        **_dropouts(model, passes * _weights(model, symbols) / characters, known.get("dropout")),
    }
    train = train.completed({**constants, **rules})
    resolve_precision(train.precision, model)  # raises for a precision that the model cannot have
    return model, train


def steps_between_evaluations(config: TrainConfig, total_steps: int) -> int:
    """Return the number of steps between evaluations of a run whose length is known."""
    if config.eval_every != AUTO:
        return config.eval_every
    return min(MAX_STEPS_BETWEEN_EVALUATIONS, max(1, total_steps // EVALUATIONS_PER_RUN))


def operations_per_symbol(model: ModelConfig, symbols: int) -> int:
    """Return the floating-point operations of a training step's matrix products per symbol.

    Two for each multiply-add, forward and twice backward. The first layer's input is a gather of
    rows, which counts as nothing. symbols: the number of distinct symbols.
    """
    return 6 * _weights(model, symbols)


def _weights(model: ModelConfig, symbols: int) -> int:
    """Return the number of weights in matrix products: recurrent, between layers, and the head."""
    gates = len(layer_of(model).GATES)
    matrices = model.layers + model.layers - 1
    return matrices * gates * model.hidden**2 + model.layers_seen * model.hidden * symbols


def _choose_model(
    asked: ModelConfig, characters: int, symbols: int, operations: float
) -> ModelConfig:
    """Return the largest model of SIZES that fits the settings asked for, the text and the time."""
    most_slots = max(1, MAX_NGRAM_WEIGHTS // symbols)
    rules: dict[str, Any] = {
        "capped": asked.cell in ("lstm", AUTO),
        "ngrams": LONGEST_NGRAM_CONTEXT if most_slots >= MIN_NGRAM_SLOTS else 0,
        "ngram_slots": min(most_slots, max(1, characters // CHARACTERS_PER_SLOT)),
    }
    model = asked.completed({"layers": 1, "hidden": SIZES[0][1], **rules})
    if asked.hidden != AUTO:
        return model
    to_read = CHARACTERS_TO_READ * (operations / 1e12) ** (1 / 3)
    to_read *= (min(max(characters, SHORT_TEXT), LONG_TEXT) / SHORT_TEXT) ** TEXT_POWER
    for layers, hidden in SIZES:
        skip = layers > 1 and asked.layers == AUTO
        larger = asked.completed({"layers": layers, "hidden": hidden, "skip": skip, **rules})
        weights = _weights(larger, symbols)
        if weights <= _weights(model, symbols):
            continue  # where the user sets the layers, SIZES does not always rise
        can_read = operations / operations_per_symbol(larger, symbols)
        if can_read >= to_read and weights <= MAX_WEIGHTS_PER_CHARACTER * characters:
            model = larger
    return model


def _learning_rates(
    model: ModelConfig, optimizer: str, steps: int, passes: float
) -> dict[str, float]:
    """Return the learning rates of the network and of the table; other optimizers keep theirs."""
    rates: dict[str, float] = {}
    if optimizer == "adam":
        rates["lr"] = LR[model.cell] * min(1, (SHORT_RUN / max(1, steps)) ** LR_POWER)
        rates["lr"] = float(f"{rates['lr']:.3g}")
        rates["beta2"] = ADAM_BETA2
    if model.ngrams:
        rate = min(MAX_NGRAM_LR, NGRAM_LR * max(passes, 1) ** NGRAM_LR_POWER)
        rates["ngram_lr"] = float(f"{rate:.2g}")
    return rates


def _dropouts(model: ModelConfig, memory: float, given: float | None) -> dict[str, float]:
    """Return the dropout of outputs, of recurrent weights and between layers.

    memory: the passes over the text times the weights for each of its characters. given: the
    dropout of outputs that the user asked for; None for the rule's.
    """
    per_doubling, largest = DROPOUT_PER_DOUBLING, MAX_DROPOUT
    if model.ngrams:
        per_doubling, largest = DROPOUT_PER_DOUBLING_BESIDE_TABLE, MAX_DROPOUT_BESIDE_TABLE
    doublings = math.log2(max(1.0, memory / MEMORY_WITHOUT_DROPOUT))
    dropout = round(min(largest, per_doubling * doublings), 2)
    chosen = {"dropout": dropout, "weight_dropout": dropout}
    if model.layers > 1:
        chosen["dropout_between"] = round((dropout if given is None else given) / 2, 2)
    return chosen
