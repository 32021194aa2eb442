"""What `charlstm train` chooses where the user does not say: size, rate and regularisation.

The rule was fitted on runs of several texts and budgets: `scripts/recipe sweep` prints them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .batches import fit_lanes
from .config import ModelConfig, TrainConfig
from .errors import CharlstmError
from .precision import resolve_precision

LANES = 24  # a multiple of what the kernels take at once, for 1, 2 and 4 workers
WINDOW = 64

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

STOP_AFTER = 5  # evaluations in a row without a new best
EVALUATIONS = 10  # over a run, and at least one every so many steps:
EVALUATE_AT_LEAST = 1_000


@dataclass(frozen=True)
class CorpusOptions:
    """Where the text of a run comes from and how it is read; paths are absolute."""

    paths: tuple[str, ...]
    val_file: tuple[str, ...] = ()
    val_frac: float = 0.1  # the last part of the text; without val_file
    level: str = "char"
    encoding: str = "utf-8"
    newlines: str = "keep"
    vocab_size: int | None = None  # symbols at level word; None: all words

    def __post_init__(self) -> None:
        fraction = isinstance(self.val_frac, float | int) and 0 <= self.val_frac < 1
        if not fraction:
            raise CharlstmError(f"val_frac must be 0 or more and below 1, not {self.val_frac!r}")


def split_options(options: Mapping[str, Any], *kinds: type) -> list[dict[str, Any]]:
    """The given options (those not None), by the record that has a field of their name."""
    given = {name: value for name, value in options.items() if value is not None}
    parts = []
    for kind in kinds:
        names = {field.name for field in fields(kind)}
        parts.append({name: given.pop(name) for name in names & set(given)})
    if given:
        raise CharlstmError(f"unknown option {sorted(given)[0]!r}")
    return parts


def operations_per_symbol(model: ModelConfig, symbols: int) -> int:
    """Of a training step's matrix products: two for each multiply-add, forward and backward.

    The gathered input of the first layer counts as nothing.
    """
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[model.cell]
    recurrent, between = model.layers, model.layers - 1
    products = (recurrent + between) * gates * model.hidden**2
    return 6 * (products + model.layers_seen * model.hidden * symbols)


def choose(
    characters: int,
    model_options: Mapping[str, Any],
    train_options: Mapping[str, Any],
    *,
    symbols: int = 100,
    operations: float = OPERATIONS,
) -> tuple[ModelConfig, TrainConfig]:
    """Complete the options for a training text of so many characters, of `symbols` kinds.

    operations: what there is time for.
    """
    table = _ngrams(characters, symbols)
    capped = model_options.get("cell", "lstm") == "lstm"
    smallest = {"hidden": SIZES[0][1], "layers": 1, "capped": capped}
    model = ModelConfig(**{**smallest, **table, **model_options})
    # tells a bad option before it is calculated with; an end is chosen below, if cosine needs one
    TrainConfig(**{**train_options, "schedule": "constant"})
    chosen: dict[str, Any] = {
        "lanes": LANES,
        "window": LONGEST_LINE if model.lines else WINDOW,
        "clip": 1.0,
        "schedule": "cosine",
        "warmup": 100,
        "reset": 0.04,  # capped cells are slow to fill: with 0.01 a text begins 0.01 nats worse
        "average": 0.998,
    }
    lanes, window = fit_lanes(
        characters,
        train_options.get("lanes", chosen["lanes"]),
        train_options.get("window", chosen["window"]),
    )
    per_step = lanes * (TYPICAL_LINE if model.lines else window)
    if "hidden" not in model_options:
        model = _largest(model, model_options, characters, symbols, operations)
    steps = train_options.get("steps")
    if "epochs" in train_options:
        steps = int(train_options["epochs"] * characters / per_step)
    elif steps is None:
        chosen["stop_after"] = STOP_AFTER  # who counts steps or epochs wants to have them all
        steps = max(1, int(operations / (per_step * operations_per_symbol(model, symbols))))
        if "minutes" not in train_options:
            most = max(1_000, MOST_PASSES * characters // per_step)
            steps = chosen["steps"] = min(steps, most)
    if train_options.get("optimizer", "adam") == "adam":
        rate = LR[model.cell] * min(1, (SHORT_RUN / max(1, steps)) ** LR_POWER)
        chosen |= {"lr": float(f"{rate:.3g}"), "beta2": 0.99}
    chosen["warmup"] = min(chosen["warmup"], steps // 10)
    passes = steps * per_step / characters
    per_doubling, largest = DROPOUT, MOST_DROPOUT
    if model.ngrams:
        per_doubling, largest = DROPOUT_BESIDE_TABLE, MOST_BESIDE_TABLE
        rate = NGRAM_LR * max(passes, 1) ** NGRAM_LR_POWER
        chosen["ngram_lr"] = float(f"{min(MOST_NGRAM_LR, rate):.2g}")
    learned = passes * _weights(model, symbols) / characters
    doublings = math.log2(max(1.0, learned / LEARNED))
    chosen["dropout"] = chosen["weight_dropout"] = round(min(largest, per_doubling * doublings), 2)
    if model.layers > 1:
        dropout = train_options.get("dropout", chosen["dropout"])
        chosen["dropout_between"] = round(dropout / 2, 2)
    train = TrainConfig(**{**chosen, **train_options})
    resolve_precision(train.precision, model)  # refuses what this model cannot do
    return model, train


def _ngrams(characters: int, symbols: int) -> dict[str, int]:
    """The table of n-grams for a text."""
    most = max(1, MOST_NGRAM_WEIGHTS // symbols)
    ngrams = NGRAMS if most >= FEWEST_SLOTS else 0
    return {"ngrams": ngrams, "ngram_slots": min(most, max(1, characters // CHARACTERS_A_SLOT))}


def _largest(
    model: ModelConfig,
    given: Mapping[str, Any],
    characters: int,
    symbols: int,
    operations: float,
) -> ModelConfig:
    """The largest of SIZES that fits the options given, the time and the text."""
    to_read = CHARACTERS_TO_READ * (operations / 1e12) ** (1 / 3)
    to_read *= (min(max(characters, SHORT_TEXT), LONG_TEXT) / SHORT_TEXT) ** 0.4
    for layers, hidden in SIZES:
        skip = layers > 1 and "layers" not in given
        larger = replace(model, **{"layers": layers, "hidden": hidden, "skip": skip, **given})
        if _weights(larger, symbols) <= _weights(model, symbols):
            continue  # of given layers: two small ones come after a large one
        can_read = operations / operations_per_symbol(larger, symbols)
        if can_read >= to_read and _weights(larger, symbols) <= MOST_WEIGHTS * characters:
            model = larger
    return model


def _weights(model: ModelConfig, symbols: int) -> float:
    """Those of matrix products: each serves for a multiply-add forward and two backward."""
    return operations_per_symbol(model, symbols) / 6


def evaluate_every(config: TrainConfig, total_steps: int) -> int:
    """Steps between evaluations, where the end is known from the beginning."""
    return config.eval_every or min(EVALUATE_AT_LEAST, max(1, total_steps // EVALUATIONS))
