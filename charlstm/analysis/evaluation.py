"""evaluate: the loss of a model on a text, with the figures of `charlstm eval`."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from charlstm.analysis.dynamic_evaluation import DynamicConfig, DynamicEvaluation
from charlstm.analysis.segment_gradients import gradient_rms, own_text, rms_predictions
from charlstm.arrays import Ids
from charlstm.config import knobs_of, takes_options
from charlstm.errors import ArgumentError
from charlstm.network.model import CharModel
from charlstm.network.scoring import Advance, Loss, finite
from charlstm.network.scoring import evaluate as loss_of_text
from charlstm.system.threads import Workers, worker_count
from charlstm.text.sizes import count_empty_lines, utf8_size
from charlstm.text.vocab import UnknownTreatment, line_end
from charlstm.untrusted import require_type

DYNAMIC_KNOBS = (
    "rate",
    "decay",
    "ngram_lr",
    "match",
)  # the settings of DynamicConfig that are options

# Called with an activity, such as "measuring", and the number of predictions to make; the context
# that it returns gives the function to call with the number of predictions just made.
Progress = Callable[[str, int], "AbstractContextManager[Advance | None]"]


def _silent(activity: str, predictions: int) -> "AbstractContextManager[Advance | None]":
    return nullcontext(None)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The loss of a model on a text, which `charlstm.evaluate` returns.

    For a model of words, "character" means word in all names.

    loss: the sum of the losses, and the number of characters that were predicted.
    unit: the kind of symbol that the model predicts: "character", "byte" or "word".
    bytes: the size in UTF-8 of the characters that were predicted; None for a model of words.
    window: the length of the cold windows; None if the state was carried through the text.
    dynamic: the settings of dynamic evaluation by name; None if the weights were kept.
    """

    loss: Loss
    unit: str
    bytes: int | None
    window: int | None = None
    dynamic: dict[str, Any] | None = None

    def __repr__(self) -> str:
        how = f", window {self.window:,}" if self.window else ", dynamic" if self.dynamic else ""
        return (
            f"Evaluation({self.bits_per_character:.4f} bits per {self.unit}, "
            f"{self.characters:,} {self.unit}s{how})"
        )

    @property
    def characters(self) -> int:
        """The number of characters that were predicted."""
        return self.loss.characters

    @property
    def nats_per_character(self) -> float:
        """The mean loss in nats."""
        return self.loss.nats_per_character

    @property
    def bits_per_character(self) -> float:
        """The mean loss in bits."""
        return self.loss.bits_per_character

    @property
    def bits_per_byte(self) -> float | None:
        """The loss in bits per byte of the text in UTF-8; None for a model of words."""
        return self.loss.bits_per_byte(self.bytes) if self.bytes else None

    @property
    def perplexity(self) -> float:
        """The perplexity: see Loss."""
        return self.loss.perplexity

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, as `charlstm eval --json` prints them."""
        return {
            **unit_entry(self.unit),
            "characters": self.characters,
            "bytes": self.bytes,
            "nats_per_character": self.nats_per_character,
            "bits_per_character": self.bits_per_character,
            "bits_per_byte": self.bits_per_byte,
            "perplexity": finite(self.perplexity),
            "window": self.window,
            "dynamic": self.dynamic,
        }


@takes_options()
def evaluate(
    model: CharModel,
    text: str,
    *,
    window: int | None = None,
    batch_size: int | None = None,
    dynamic: bool = False,
    dynamic_rate: float = 1.5e-3,
    dynamic_decay: float = 1e-3,
    dynamic_ngram_lr: float = 0.25,
    dynamic_match: int = 5,
    unknown: UnknownTreatment = "error",
    workers: int | Literal["auto"] = "auto",
) -> Evaluation:
    """Return the loss of a model on a text of any length, as `charlstm eval` measures it.

    The first character of the text is not predicted. A model of lines predicts all characters, each
    line by itself.

    window: None carries the state through the text. A number measures on cold windows of so many
        characters, each of which starts from a zero state.
    batch_size: the number of streams into which the text is cut, to be read in parallel; None: up
        to 32. Each stream first reads the 1,000 characters before its part, so that the loss is
        almost the same as with one stream.
    dynamic: whether the model goes on learning from the text that it reads (dynamic evaluation,
        Krause et al. 2018). The loss of each part is measured before the model learns from it. The
        weights of `model` stay as they are.
    dynamic_rate: the change of a weight in one step if its gradient has its usual size.
    dynamic_decay: the fraction of a weight's change that each step removes.
    dynamic_ngram_lr: the learning rate of the table of n-grams; 0 leaves it as it is.
    dynamic_match: where at least this many last characters occurred earlier in the text, the
        character that followed them is expected again; 0: no such matches.
    unknown: what to do with characters of the text that the model does not know: "error",
        "skip" or "replace".
    workers: the number of threads; "auto": one per core.
    """
    require_type("model", model, CharModel)
    require_type("text", text, str)
    require_type("dynamic", dynamic, bool)
    given = {
        "dynamic_rate": dynamic_rate,
        "dynamic_decay": dynamic_decay,
        "dynamic_ngram_lr": dynamic_ngram_lr,
        "dynamic_match": dynamic_match,
    }
    settings = dynamic_settings(given)
    for name, value in given.items():
        if not dynamic and value != getattr(DynamicConfig, name.removeprefix("dynamic_")):
            raise ArgumentError(f"`{name}` has no effect without `dynamic=True`")
    with closing(Workers(worker_count(workers))) as threads:
        return measure(
            model,
            model.vocab.encode(text, unknown=unknown),
            window=window,
            batch_size=batch_size,
            dynamic=settings if dynamic else None,
            workers=threads,
        )


def dynamic_settings(given: Mapping[str, Any]) -> DynamicConfig:
    """Return the settings of dynamic evaluation; CharlstmError if a value is refused.

    given: values by the name of their option, such as "dynamic_rate".
    """
    knobs = {f"dynamic_{name}": knobs_of(DynamicConfig)[name] for name in DYNAMIC_KNOBS}
    for name, value in given.items():
        replace(knobs[name], name=name).check(value)  # An error names the option.
    return DynamicConfig(**{knobs[name].name: value for name, value in given.items()})


def measure(
    model: CharModel,
    ids: Ids,
    *,
    starts: Ids | None = None,
    window: int | None = None,
    batch_size: int | None = None,
    dynamic: DynamicConfig | None = None,
    before: Ids | None = None,
    workers: Workers,
    progress: Progress = _silent,
) -> Evaluation:
    """Return the loss of a model on a text, which may be memory-mapped.

    ids, starts, window, batch_size: as for network.scoring.evaluate.
    dynamic: the settings of dynamic evaluation; None: the weights stay as they are.
    before: a text in which dynamic evaluation finds matches too.
    """
    if dynamic and (window is not None or batch_size is not None):
        raise ArgumentError("`dynamic=True` reads one stream: leave out `window` and `batch_size`")
    starts = np.zeros(1, np.int64) if starts is None else starts
    predictions, size = predicted_size(model, ids, starts)
    adapting = dynamic_evaluation_of(model, dynamic, workers, progress) if dynamic else None
    with progress("measuring", predictions) as advance:
        if adapting:
            loss = adapting.evaluate(
                ids, starts=starts, before=before, workers=workers, advance=advance
            )
        else:
            loss = loss_of_text(
                model,
                ids,
                starts=starts,
                window=window,
                batch_size=batch_size,
                workers=workers,
                advance=advance,
            )
    return Evaluation(loss, model.vocab.unit, size, window, asdict(dynamic) if dynamic else None)


def predicted_size(model: CharModel, ids: Ids, starts: Ids) -> tuple[int, int | None]:
    """Return the number of ids whose loss is counted, and their size in UTF-8, in bytes.

    The loss of the first id of each text is not counted. For a model of lines, the losses of all
    ids are counted, except those of empty lines. The size is None for a model of words.

    starts: the positions at which texts start in `ids`.
    """
    vocab, size = model.vocab, utf8_size(model.vocab, ids)
    if model.config.lines:
        empty = count_empty_lines(ids, line_end(vocab))
        return len(ids) - empty, None if size is None else size - empty
    first = ids[starts] if len(ids) else ids
    return len(ids) - len(first), None if size is None else size - (utf8_size(vocab, first) or 0)


def dynamic_evaluation_of(
    model: CharModel, config: DynamicConfig, workers: Workers, progress: Progress = _silent
) -> DynamicEvaluation:
    """Return an object that measures losses by dynamic evaluation of a model.

    Dynamic evaluation needs the usual size of the model's gradients, which this function measures
    on text sampled from the model.
    """
    with progress("measuring gradients", rms_predictions(config.segment)) as advance:
        ids = own_text(model, config.segment)
        rms = gradient_rms(model, ids, config.segment, workers=workers, advance=advance)
    return DynamicEvaluation(model, rms, config)


def unit_entry(unit: str) -> dict[str, str]:
    """Return the entry "unit" of JSON for a model of words; {} for models of characters or bytes.

    The entry is needed because the names of the figures contain "character" for all models.
    """
    return {"unit": unit} if unit == "word" else {}
