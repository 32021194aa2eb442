"""The settings that `charlstm train` chooses itself: model size, learning rates, regularisation.

The settings follow from two numbers: the length of the training text, and the number of floating-
point operations that the time of the run allows. A larger model learns more from each character,
but reads fewer characters in the same time. The best size therefore depends on the time. A model
overfits when it learns the text by heart, which takes many passes over the text and many weights
per character. The dropout is therefore chosen by the product (passes * weights per character).

The constants were fitted on runs of one seed each, most of which
`scripts/benchmarks/defaults.py sweep --print` shows. The comments below quote the validation losses
of these runs, in nats per character.
"""

import math
from typing import Any

from charlstm.config import AUTO, ModelConfig, TrainConfig, knobs_of
from charlstm.network.layers import layer_of
from charlstm.network.precision import resolve_precision
from charlstm.text.batches import fit_batch

# -- the length of a run -------------------------------------------------------------------------

# The length of a run without --steps, --epochs or --minutes: the floating-point operations that two
# cores do in three minutes, at 115 GFLOP/s. A fixed number of operations, unlike a time, gives the
# same number of steps on every machine.
DEFAULT_OPERATIONS = 20e12
# On a short text, a run without --steps, --epochs or --minutes ends after MAX_PASSES passes over
# the text, because further passes improve the model little. If MAX_PASSES passes are fewer than
# MIN_STEPS steps, the limit is MIN_STEPS steps, because fewer are too few even for a tiny text.
MAX_PASSES, MIN_STEPS = 40, 1_000
# A run stops early after this number of evaluations in a row without a new best validation loss,
# unless the user sets the steps or the epochs.
STOP_AFTER = 5
EVALUATIONS_PER_RUN = 10
# In fewer steps than the minimum, a model hardly changes, and an evaluation takes longer.
MIN_STEPS_BETWEEN_EVALUATIONS, MAX_STEPS_BETWEEN_EVALUATIONS = 10, 1_000

SEQ_LENGTH = 64  # time steps; with 64 the validation loss is 1.482, with 128 it is 1.504
# Lengths in symbols for a model of lines: MAX_LINE is the default sequence length; estimates assume
# that a line has TYPICAL_LINE symbols.
MAX_LINE, TYPICAL_LINE = 256, 32

# Characters beyond ASCII that are rarer than this share of the text are spelled as bytes. On 4 MB
# of technical text with 1,356 distinct characters, the loss is 1.340 with it and 1.656 without.
SPELL_BELOW = 5e-5

# -- the size of the model -----------------------------------------------------------------------

# The sizes to choose from, smallest first: (layers, hidden units). The models of two layers have
# skip connections.
SIZES = [(1, n) for n in (64, 96, 128, 160, 192, 224, 256, 320, 384, 448, 512)]
SIZES += [(2, n) for n in (384, 512, 640, 768, 1024)]

# The model chosen is the largest one with time to read enough symbols: SYMBOLS_TO_READ times the
# cube root of the run's tera-operations (1e12 operations each). With this rule, both the model and
# the text that it reads grow with the time. With 1.5 tera-operations, models of 128 to 160 units
# have the lowest loss. With 14 tera-operations, the loss is 1.392 with 256 units, and
# 1.406 with 192 or 320.
SYMBOLS_TO_READ = 3_000_000
# On a text longer than SHORT_TEXT symbols, the model has to read more symbols, because new text
# teaches more than text read again. SYMBOLS_TO_READ is then multiplied by the factor
# (length / SHORT_TEXT) ** TEXT_POWER, which makes the model smaller. Beyond LONG_TEXT symbols, the
# factor stays the same, as longer texts were not measured. On 10 MB of source code, three
# minutes of training give a loss of 1.138 with 160 units and 1.159 with 96 units.
SHORT_TEXT, LONG_TEXT, TEXT_POWER = 1_000_000, 10_000_000, 0.4
# The maximum number of weights in matrix products per symbol of training text. A model above the
# maximum overfits.
MAX_WEIGHTS_PER_SYMBOL = 4

# -- the table of n-grams ------------------------------------------------------------------------

LONGEST_NGRAM_CONTEXT = 6  # characters; 6 give a loss of 1.428, 4 give 1.449 and 8 give 1.448
# The table has one row for each SYMBOLS_PER_ROW symbols of training text. On 100 kB of text, a row
# for each 2 symbols gives a loss of 1.472, and a row for each 15 gives 1.499.
SYMBOLS_PER_ROW = 2
# The table has at most NGRAM_WEIGHTS_PER_SYMBOL numbers for each symbol of training text, but
# always SHORT_TEXT_NGRAM_WEIGHTS numbers may be used, and never more than MAX_NGRAM_WEIGHTS: 34 and
# 134 MB in float32. On four texts of 2 to 20 MB, four times the numbers of a short text lower the
# loss by 0.017 to 0.046, and twice the numbers by about half as much. On 1 MB, the loss is lower by
# 0.008 only.
NGRAM_WEIGHTS_PER_SYMBOL = 8
SHORT_TEXT_NGRAM_WEIGHTS, MAX_NGRAM_WEIGHTS = 2**23, 2**25
# A model with a larger vocabulary gets no table, because the table would have so few rows that too
# many contexts would share a row by chance.
MAX_VOCAB_WITH_NGRAMS = 8192

# The table overfits if it reads a text many times at a high learning rate. So the learning rate of
# the table is NGRAM_LR * passes ** NGRAM_LR_POWER, at most MAX_NGRAM_LR. After 46 passes over 100
# kB of text, a rate of 0.25 gives a loss of 1.464, and a rate of 0.05 gives 1.397. After one pass,
# the rates 0.25 and 0.5 give the same loss.
NGRAM_LR, NGRAM_LR_POWER, MAX_NGRAM_LR = 0.67, -0.75, 0.25

# -- the learning rate ---------------------------------------------------------------------------

# The peak learning rate of Adam for each kind of cell. With higher rates, GRUs and RNNs diverge,
# and LSTMs reach no lower loss.
LR = {"lstm": 2e-2, "gru": 1e-2, "rnn": 2e-3}
# A run of more than SHORT_RUN steps has a lower rate: LR * (SHORT_RUN / steps) ** LR_POWER. After
# 10,664 steps, a rate of 0.02 gives a loss of 1.181 and 0.012 gives 1.159.
SHORT_RUN, LR_POWER = 5_000, 0.75
# A run that fine-tunes a model and mixes the old text in (--init-from and --mix) has higher rates,
# because the new text gets only a part of each step: up to FACTOR_WITH_MIX times the rate above,
# and MAX_NGRAM_LR_WITH_MIX in place of MAX_NGRAM_LR. After 500 steps on two new texts, the loss is
# 1.640 and 1.059 with the factor 1.5 and a rate of 0.4, and 1.645 and 1.064 with 2 and 0.35.
FACTOR_WITH_MIX, MAX_NGRAM_LR_WITH_MIX = 1.5, 0.4
MAX_WARMUP = 100  # maximum number of warm-up steps
ADAM_BETA2 = 0.99

# -- dropout -------------------------------------------------------------------------------------

# A run has no dropout if (passes over the text * weights per character) is at most this number.
MEMORISATION_WITHOUT_DROPOUT = 0.25
# Each doubling of (passes * weights per character) above MEMORISATION_WITHOUT_DROPOUT adds
# DROPOUT_PER_DOUBLING to the dropout, up to MAX_DROPOUT. The values for a model with a table
# of n-grams are lower, because the table leaves the network less to learn by heart: on 1 MB of text
# with 256 units, halving the dropout lowered the loss from 1.386 to 1.378.
DROPOUT_PER_DOUBLING, MAX_DROPOUT = 0.06, 0.5
DROPOUT_PER_DOUBLING_BESIDE_TABLE, MAX_DROPOUT_BESIDE_TABLE = 0.04, 0.3


def choose_settings(
    length: int,
    model: ModelConfig,
    train: TrainConfig,
    *,
    vocab_size: int = 100,
    operations: float = DEFAULT_OPERATIONS,
    mixes_old_text: bool = False,
) -> tuple[ModelConfig, TrainConfig]:
    """Replace each AUTO in the settings of a run by a value that suits the text and the time.

    length: the length of the training text, in symbols.
    vocab_size: the number of distinct symbols.
    operations: the number of floating-point operations in matrix products that the time allows.
    mixes_old_text: whether the run starts from a trained model and mixes another text in.
    """
    model = _choose_model(model, length, vocab_size, operations)
    constants = {name: one.train_default for name, one in knobs_of(TrainConfig).items()}
    constants = {name: value for name, value in constants.items() if value != AUTO}
    constants["seq_length"] = MAX_LINE if model.lines else SEQ_LENGTH
    known = constants | train.given

    batch_size, seq_length = fit_batch(length, known["batch_size"], known["seq_length"])
    per_step = batch_size * (TYPICAL_LINE if model.lines else seq_length)
    affordable = max(1, int(operations / (per_step * operations_per_symbol(model, vocab_size))))
    stop_after = STOP_AFTER
    if known["steps"] is not None:
        steps, stop_after = known["steps"], 0
    elif known["epochs"] is not None:
        steps, stop_after = int(known["epochs"] * length / per_step), 0
    elif known["minutes"] is not None:
        steps = affordable
    else:
        enough = max(MIN_STEPS, MAX_PASSES * length // per_step)
        steps = constants["steps"] = min(affordable, enough)

    passes = steps * per_step / length
    rules = {
        "stop_after": stop_after,
        "warmup": min(MAX_WARMUP, steps // 10),
        **_learning_rates(model, known["optimizer"], steps, passes, mixes_old_text),
        **_dropouts(model, passes * _weights(model, vocab_size) / length, known.get("dropout")),
    }
    train = train.completed({**constants, **rules})
    # resolve_precision raises CharlstmError if the model cannot be trained in train.precision.
    resolve_precision(train.precision, model)
    return model, train


def learning_rate(cell: str, steps: int, max_factor: float = 1) -> float:
    """Return the default peak learning rate of Adam for a run of this number of steps.

    max_factor: the largest factor by which the rate of a short run may exceed LR.
    """
    factor = min(max_factor, (SHORT_RUN / max(1, steps)) ** LR_POWER)
    return float(f"{LR[cell] * factor:.3g}")


def steps_between_evaluations(config: TrainConfig, total_steps: int) -> int:
    """Return the number of steps between evaluations of a run whose length is known."""
    if config.eval_every != AUTO:
        return config.eval_every
    between = max(MIN_STEPS_BETWEEN_EVALUATIONS, total_steps // EVALUATIONS_PER_RUN)
    return min(MAX_STEPS_BETWEEN_EVALUATIONS, between)


def operations_per_symbol(model: ModelConfig, vocab_size: int) -> int:
    """Return the floating-point operations in matrix products that training takes per symbol read.

    Each weight takes one multiply-add (two operations) in the forward pass, and two multiply-adds
    in the backward pass. The input of the first layer takes none: it only selects rows of a matrix.

    vocab_size: the number of distinct symbols.
    """
    return 6 * _weights(model, vocab_size)


def _weights(model: ModelConfig, vocab_size: int) -> int:
    """Return the number of weights in matrices: recurrent ones, between layers, and in the head."""
    gates = len(layer_of(model).GATES)
    matrices = model.layers + model.layers - 1
    return matrices * gates * model.hidden**2 + model.layers_seen * model.hidden * vocab_size


def _choose_model(
    asked: ModelConfig, length: int, vocab_size: int, operations: float
) -> ModelConfig:
    """Return the largest model of SIZES that the user's settings, the text and the time allow."""
    most_weights = max(SHORT_TEXT_NGRAM_WEIGHTS, NGRAM_WEIGHTS_PER_SYMBOL * length)
    most_rows = max(1, min(MAX_NGRAM_WEIGHTS, most_weights) // vocab_size)
    rules: dict[str, Any] = {
        "capped": asked.cell in ("lstm", AUTO),
        "ngrams": LONGEST_NGRAM_CONTEXT if vocab_size <= MAX_VOCAB_WITH_NGRAMS else 0,
        "ngram_slots": min(most_rows, max(1, length // SYMBOLS_PER_ROW)),
    }
    model = asked.completed({"layers": 1, "hidden": SIZES[0][1], **rules})
    if asked.hidden != AUTO:
        return model
    to_read = SYMBOLS_TO_READ * (operations / 1e12) ** (1 / 3)
    to_read *= (min(max(length, SHORT_TEXT), LONG_TEXT) / SHORT_TEXT) ** TEXT_POWER
    for layers, hidden in SIZES:
        skip = layers > 1 and asked.layers == AUTO
        larger = asked.completed({"layers": layers, "hidden": hidden, "skip": skip, **rules})
        weights = _weights(larger, vocab_size)
        if weights <= _weights(model, vocab_size):
            continue  # If the user sets --layers, a later entry of SIZES may have fewer weights.
        can_read = operations / operations_per_symbol(larger, vocab_size)
        if can_read >= to_read and weights <= MAX_WEIGHTS_PER_SYMBOL * length:
            model = larger
    return model


def _learning_rates(
    model: ModelConfig, optimizer: str, steps: int, passes: float, mixes_old_text: bool
) -> dict[str, float]:
    """Return the learning rates of the network, if Adam trains it, and of the table of n-grams."""
    factor, most = 1.0, MAX_NGRAM_LR
    if mixes_old_text:
        factor, most = FACTOR_WITH_MIX, MAX_NGRAM_LR_WITH_MIX
    rates: dict[str, float] = {}
    if optimizer == "adam":
        rates["lr"] = learning_rate(model.cell, steps, max_factor=factor)
        rates["beta2"] = ADAM_BETA2
    if model.ngrams:
        rate = min(most, NGRAM_LR * max(passes, 1) ** NGRAM_LR_POWER)
        rates["ngram_lr"] = float(f"{rate:.2g}")
    return rates


def _dropouts(model: ModelConfig, memorisation: float, given: float | None) -> dict[str, float]:
    """Return the dropout of outputs, of recurrent weights and between layers.

    memorisation: the passes over the text times the weights per character of the text.
    given: the dropout of outputs that the user set; None if the user set no value.
    """
    per_doubling, largest = DROPOUT_PER_DOUBLING, MAX_DROPOUT
    if model.ngrams:
        per_doubling, largest = DROPOUT_PER_DOUBLING_BESIDE_TABLE, MAX_DROPOUT_BESIDE_TABLE
    doublings = math.log2(max(1.0, memorisation / MEMORISATION_WITHOUT_DROPOUT))
    dropout = round(min(largest, per_doubling * doublings), 2)
    chosen = {"dropout": dropout, "weight_dropout": dropout}
    if model.layers > 1:
        chosen["dropout_between"] = round((dropout if given is None else given) / 2, 2)
    return chosen
