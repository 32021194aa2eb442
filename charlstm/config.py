"""What a model is, how it is trained, how it follows a text: frozen records, validated once."""

import math
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeVar

from .errors import CharlstmError

Cell = Literal["lstm", "gru", "rnn"]
Optimizer = Literal["adam", "rmsprop", "sgd"]
Schedule = Literal["constant", "cosine", "step", "plateau", "halve-on-rise"]
Reduction = Literal["mean", "sum"]
Dtype = Literal["float32", "float64"]
Precision = Literal["auto", "float32", "bfloat16"]

# Far above what trains on a CPU; they keep a hostile file from asking for all the memory there is.
MAX_HIDDEN = 16_384
MAX_LAYERS = 64
MAX_NGRAMS = 16
MAX_NGRAM_SLOTS = 2**24
# Of some other numbers: what is calculated with them is to stay finite, to fit into 64 bits, and a
# rate into float32.
LARGEST = {
    "lr": 1e38,
    "ngram_lr": 1e38,
    "seed": 2**128 - 1,
    "workers": 1024,
    "minutes": 1e7,
    "epochs": 1e9,
}


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a model. Its vocabulary comes beside it."""

    cell: Cell = "lstm"
    hidden: int = 128  # units of each layer
    layers: int = 2
    dtype: Dtype = "float32"
    lines: bool = False  # each line is a text of its own, without a state from the one before
    skip: bool = False  # every layer sees the symbol itself, the head every layer (Graves 2013)
    # The last 2 to `ngrams` symbols each add a row of a table to the logits: see layers/ngrams.py
    ngrams: int = 0  # 0: no such table
    ngram_slots: int = 65_536  # rows of the table
    capped: bool = False  # the LSTM's input gate is at most 1 - f (Melis et al. 2020)

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self, "hidden", 1 <= self.hidden <= MAX_HIDDEN, f"1 to {MAX_HIDDEN}")
        _require(self, "layers", 1 <= self.layers <= MAX_LAYERS, f"1 to {MAX_LAYERS}")
        _require(self, "capped", self.cell == "lstm" or not self.capped, "false without an LSTM")
        among = self.ngrams == 0 or 2 <= self.ngrams <= MAX_NGRAMS
        _require(self, "ngrams", among, f"0, or 2 to {MAX_NGRAMS}")
        slots = f"1 to {MAX_NGRAM_SLOTS:,}"
        _require(self, "ngram_slots", 1 <= self.ngram_slots <= MAX_NGRAM_SLOTS, slots)

    @property
    def layers_seen(self) -> int:
        """The layers that the head sees, counted from the last."""
        return self.layers if self.skip else 1


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. The defaults are plain; `charlstm train` chooses better ones."""

    lanes: int = 50  # parallel streams of text, or lines: the batch size
    window: int = 50  # steps of truncated back-propagation through time; the longest line
    recut: bool = True  # each pass cuts the text into lanes at another place
    reduction: Reduction = "mean"  # of a window's losses, before the gradient
    optimizer: Optimizer = "adam"
    lr: float = 2e-3  # the peak learning rate
    schedule: Schedule = "constant"
    warmup: int = 0  # steps over which the rate rises from 0 (schedule cosine)
    final_lr: float = 0.02  # the last rate as a part of lr (schedule cosine)
    decay: float = 0.5  # factor of each decay (schedules step and plateau)
    decay_every: int = 5  # epochs between decays (schedule step)
    patience: int = 3  # evaluations without a new best before a decay (schedule plateau)
    beta1: float = 0.9  # decay of the mean gradient (adam), or the momentum (sgd)
    beta2: float = 0.999  # decay of the mean squared gradient (adam, rmsprop)
    ngram_lr: float = 0.25  # the first step of a row of the table of n-grams, in nats
    weight_decay: float = 0.0  # decoupled: times the rate, off every weight at each step
    average: float = 0.0  # decay a step of the moving average of the weights; 0: none is kept
    clip: float = 5.0  # largest norm of the whole gradient; 0: no limit
    clip_value: float = 0.0  # largest absolute value of each element; 0: no limit
    dropout: float = 0.0  # of what the head sees, one mask a window
    dropout_between: float | None = None  # of what each layer gives to the next; None: as dropout
    weight_dropout: float = 0.0  # of the recurrent weights, one mask a window; in 256ths
    reset: float = 0.0  # probability that a lane starts a window from a state of zeros
    epochs: float | None = None  # end after so many passes over the text
    steps: int | None = None  # end after so many steps
    minutes: float | None = None  # end after so much time
    stop_after: int = 0  # end after so many evaluations in a row without a new best; 0: never
    eval_every: int | None = None  # steps between evaluations
    keep_every: int | None = None  # steps between checkpoints that are kept
    precision: Precision = "auto"  # of products' operands; float32: as the model is
    seed: int = 0
    workers: int | None = None  # threads; None: one for each core

    def __post_init__(self) -> None:
        _check_types(self)
        for name in ("lanes", "window", "decay_every", "patience"):
            _require(self, name, getattr(self, name) >= 1, "1 or more")
        for name in ("warmup", "weight_decay", "clip", "clip_value", "stop_after", "seed"):
            _require(self, name, getattr(self, name) >= 0, "0 or more")
        for name in ("epochs", "steps", "minutes", "eval_every", "keep_every", "workers"):
            value = getattr(self, name)
            _require(self, name, value is None or value > 0, "above 0")
        for name in ("beta1", "beta2", "average", "dropout", "weight_dropout", "reset"):
            _require(self, name, 0 <= getattr(self, name) < 1, "0 or more and below 1")
        for name in ("decay", "final_lr"):
            _require(self, name, 0 <= getattr(self, name) <= 1, "0 to 1")
        between = self.dropout_between
        holds = between is None or 0 <= between < 1
        _require(self, "dropout_between", holds, "0 or more and below 1")
        _require(self, "lr", self.lr > 0, "above 0")
        _require(self, "ngram_lr", self.ngram_lr >= 0, "0 or more")
        ends = [n for n in ("epochs", "steps", "minutes") if getattr(self, n) is not None]
        if len(ends) > 1:
            raise CharlstmError(f"{' and '.join(ends)} contradict each other: give one of them")
        if self.schedule == "cosine" and not ends:
            raise CharlstmError("schedule cosine needs an end: give steps, epochs or minutes")


@dataclass(frozen=True)
class DynamicConfig:
    """How the weights follow a text in dynamic evaluation: see dynamic.py for the rule.

    One default serves all models: scripts/dynamic_settings tells on which text it was chosen.
    """

    segment: int = 20  # predictions between two steps of the weights
    rate: float = 1.5e-3  # the step of a weight whose gradient has its usual size
    decay: float = 1e-3  # the part of its way back to the trained weights that each step goes
    epsilon: float = 0.1  # keeps weights whose usual gradient is tiny from leaping
    ngram_lr: float = 0.25  # of the table of n-grams, in nats; 0 leaves it as it is

    def __post_init__(self) -> None:
        _check_types(self)
        _require(self, "segment", self.segment >= 1, "1 or more")
        _require(self, "rate", 0 <= self.rate <= 1, "0 to 1")
        _require(self, "decay", 0 <= self.decay <= 1, "0 to 1")
        _require(self, "epsilon", self.epsilon > 0, "above 0")
        _require(self, "ngram_lr", 0 <= self.ngram_lr <= 100, "0 to 100")


Config = TypeVar("Config", ModelConfig, TrainConfig)


def config_to_json(config: ModelConfig | TrainConfig) -> dict[str, Any]:
    """The fields as a JSON object."""
    return asdict(config)


def config_from_json(kind: type[Config], data: object) -> Config:
    """Rebuild a config that config_to_json wrote; anything else is refused."""
    if not isinstance(data, Mapping):
        raise CharlstmError(f"a {kind.__name__} must be an object, not {type(data).__name__}")
    names = {field.name for field in fields(kind)}
    if unknown := sorted(str(name) for name in set(data) - names):
        raise CharlstmError(f"unknown field {unknown[0]!r} in a {kind.__name__}")
    return kind(**data)


def _require(config: object, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise CharlstmError(f"{name} must be {expected}, not {getattr(config, name)!r:.60}")


def _check_types(config: ModelConfig | TrainConfig | DynamicConfig) -> None:
    """Check each field against its annotation; a whole number also serves where a float does."""
    for name, annotation in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if typing.get_origin(annotation) is Literal:
            choices = typing.get_args(annotation)
            if value not in choices:
                raise CharlstmError(
                    f"{name} must be one of {', '.join(choices)}, not {value!r:.60}"
                )
            continue
        kinds = typing.get_args(annotation) or (annotation,)
        allowed = (*kinds, int) if float in kinds else kinds
        if isinstance(value, bool) != (bool in kinds) or not isinstance(value, allowed):
            wanted = " or ".join("none" if k is type(None) else k.__name__ for k in kinds)
            raise CharlstmError(f"{name} must be {wanted}, not {value!r:.60}")
        if isinstance(value, float) and not math.isfinite(value):
            raise CharlstmError(f"{name} must be a finite number, not {value!r:.60}")
        most = LARGEST.get(name, 1e300 if isinstance(value, float) else 2**53)
        if isinstance(value, int | float) and abs(value) > most:
            raise CharlstmError(f"{name} must be {most:.3g} at most, not {value!r:.60}")
