"""What `charlstm train` chooses where the user does not say: sizes and rates from the corpus."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .batches import fit_lanes
from .config import ModelConfig, TrainConfig
from .errors import CharlstmError
from .precision import resolve_precision

# (up to so many characters of training text, units of the one layer, dropout)
SIZES = ((50_000, 64, 0.3), (300_000, 128, 0.3), (20_000_000, 256, 0.2), (None, 512, 0.1))

# Without a budget: passes over the text, but within these bounds of steps.
PASSES = 12
FEWEST_STEPS, MOST_STEPS = 1_000, 8_000

LONGEST_LINE, TYPICAL_LINE = 256, 32  # symbols, for a model of lines

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


def choose(
    characters: int, model_options: Mapping[str, Any], train_options: Mapping[str, Any]
) -> tuple[ModelConfig, TrainConfig]:
    """Complete the options for a training text of so many characters."""
    hidden, dropout = next(
        (hidden, dropout) for most, hidden, dropout in SIZES if most is None or characters <= most
    )
    model = ModelConfig(**{"hidden": hidden, "layers": 1, **model_options})
    # tells a bad option before it is calculated with; an end is chosen below, if cosine needs one
    TrainConfig(**{**train_options, "schedule": "constant"})
    chosen: dict[str, Any] = {
        "lanes": 32,
        "window": LONGEST_LINE if model.lines else 64,
        "lr": 2e-3 if model.cell == "rnn" else 1e-2,  # at 1e-2 a plain network explodes
        "beta2": 0.99,
        "clip": 1.0,
        "schedule": "cosine",
        "warmup": 100,
        "dropout": dropout,
        "reset": 0.01,
    }
    if train_options.get("optimizer", "adam") != "adam":
        del chosen["lr"], chosen["beta2"]  # those are Adam's
    lanes, window = fit_lanes(
        characters,
        train_options.get("lanes", chosen["lanes"]),
        train_options.get("window", chosen["window"]),
    )
    if model.lines:
        window = TYPICAL_LINE
    steps = train_options.get("steps")
    if "epochs" in train_options:
        steps = int(train_options["epochs"] * characters / (lanes * window))
    elif steps is None and "minutes" not in train_options:
        steps = PASSES * characters // (lanes * window)
        steps = chosen["steps"] = min(MOST_STEPS, max(FEWEST_STEPS, steps))
    if steps is not None:  # a short run cannot spend its first 100 steps warming up
        chosen["warmup"] = min(chosen["warmup"], steps // 10)
    train = TrainConfig(**{**chosen, **train_options})
    resolve_precision(train.precision, model)  # refuses what this model cannot do
    return model, train


def evaluate_every(config: TrainConfig, total_steps: int) -> int:
    """Steps between evaluations, where the end is known from the beginning."""
    return config.eval_every or min(EVALUATE_AT_LEAST, max(1, total_steps // EVALUATIONS))
