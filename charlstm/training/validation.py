"""Validation: the validation text of a run, its evaluations, and which of them is the best."""

import math
import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np

from charlstm.arrays import Ids
from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.network.scoring import evaluate
from charlstm.system.threads import Workers
from charlstm.text.file_split import shortened
from charlstm.untrusted import integer, of_type, real

# The maximum and minimum length of the validation text, in symbols. In a run with a time budget,
# the text may be shortened to MIN_SYMBOLS, or to fewer if the run has only a few steps.
MAX_SYMBOLS, MIN_SYMBOLS = 1_000_000, 1_000
# A shortened text of several parts keeps at least this number of symbols of a part, on average.
SYMBOLS_PER_PART = 100
# The speed of an evaluation is measured on this number of symbols.
TRIAL_SYMBOLS = 100


@dataclass(frozen=True)
class Evaluation:
    """The losses after `step` steps, in nats per character.

    train_loss: the mean training loss of the steps since the last evaluation, with dropout.
    val_loss: the validation loss of the current or of the averaged weights, whichever is lower.
    """

    step: int
    train_loss: float
    val_loss: float


class Validation:
    """The validation text of a run with all evaluations on it.

    ids, starts: the text on which the losses are measured, and the positions at which its parts
        start (see Split).
    line_end: the id of the line end for a model of lines, else None.
    mix: the part of the text of --mix that is not trained on; None without --mix. Its losses do not
        count for the best evaluation.
    evaluations_since_best: the number of evaluations since the one with the lowest loss.
    """

    def __init__(
        self,
        ids: Ids,
        line_end: int | None = None,
        starts: Ids | None = None,
        mix: "Validation | None" = None,
    ) -> None:
        self.mix = mix
        self._line_end = line_end
        self._whole = ids, np.zeros(1, np.int64) if starts is None else starts
        self._most = len(ids)
        self.ids, self.starts = self._whole
        self.shorten(MAX_SYMBOLS)
        self.evaluations: list[Evaluation] = []
        self.evaluations_since_best = 0

    @property
    def can_evaluate(self) -> bool:
        """Whether the text has a symbol to predict; for lines, whether it has a non-empty line."""
        if self._line_end is None:
            return len(self.ids) > len(self.starts)
        return bool((self.ids != self._line_end).any())

    def shorten(self, symbols: int, least: int = MIN_SYMBOLS) -> None:
        """Keep at most `symbols` symbols of the text, or `least` if that is more.

        The symbols kept are the first ones of the text, or of each of its parts. The text of
        --mix is shortened to the same length.
        """
        self._shorten_own(symbols, least)
        if self.mix is not None:
            self.mix.shorten(symbols, least)

    def _shorten_own(self, symbols: int, least: int) -> None:
        self._most = min(self._most, max(symbols, least))
        self.ids, self.starts = shortened(*self._whole, self._most, SYMBOLS_PER_PART)

    @property
    def total_length(self) -> int:
        """The number of symbols that an evaluation reads, with those of `mix`."""
        return len(self.ids) + (0 if self.mix is None else len(self.mix.ids))

    @property
    def best(self) -> Evaluation | None:
        """The first evaluation with the lowest validation loss; None before any evaluation."""
        return min(self.evaluations, key=lambda e: e.val_loss, default=None)

    @property
    def best_val_loss(self) -> float | None:
        """The lowest validation loss; None before any evaluation."""
        return None if self.best is None else self.best.val_loss

    @property
    def val_loss(self) -> float | None:
        """The newest validation loss; None before any evaluation."""
        return self.evaluations[-1].val_loss if self.evaluations else None

    def evaluate(
        self,
        models: Mapping[str, CharModel],
        workers: Workers,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, float]:
        """Return the loss of each model by its name; an empty dict if no symbol can be predicted.

        check: called repeatedly; it may raise an exception to end the evaluation.
        """
        if not self.can_evaluate:
            return {}
        return {
            name: evaluate(
                model,
                self.ids,
                starts=self.starts,
                workers=workers,
                advance=lambda _: check(),
            ).nats_per_character
            for name, model in models.items()
        }

    def loss_within(self, seconds: float, model: CharModel, workers: Workers) -> float | None:
        """Return the loss of a model on as much of the text as it reads in about `seconds`.

        Only TRIAL_SYMBOLS symbols are read if there is no time for more. Returns None if no symbol
        can be predicted.
        """
        part = copy(self)
        if seconds < math.inf:
            part.shorten(TRIAL_SYMBOLS, least=0)
            began = time.monotonic()
            losses = part.evaluate({"trial": model}, workers)
            per_symbol = (time.monotonic() - began) / max(1, len(part.ids))
            affordable = int(seconds / max(per_symbol, 1e-9))
            if affordable <= TRIAL_SYMBOLS:
                return losses.get("trial")
            part = copy(self)
            part.shorten(affordable, least=0)
        return part.evaluate({"whole": model}, workers).get("whole")

    def record_and_compare(self, evaluation: Evaluation) -> bool:
        """Record an evaluation; return whether its validation loss is the lowest so far."""
        best = self.best
        is_best = best is None or evaluation.val_loss < best.val_loss
        self.evaluations_since_best = 0 if is_best else self.evaluations_since_best + 1
        self.evaluations.append(evaluation)
        return is_best

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluations and the largest length of the text, for JSON."""
        return {
            "characters": self._most,
            "evaluations": [astuple(e) for e in self.evaluations],
            "evaluations_since_best": self.evaluations_since_best,
            **({} if self.mix is None else {"mix": self.mix.to_dict()}),
        }

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore the evaluations and the text's length from the dict that to_dict returned."""
        self.evaluations = [_evaluation(row) for row in of_type(list, saved, "evaluations")]
        self.evaluations_since_best = integer(saved, "evaluations_since_best")
        # A text of length 0 is never shortened, and any other text keeps a symbol.
        length = integer(saved, "characters", least=min(1, len(self._whole[0])))
        self._shorten_own(length, least=0)
        if self.mix is not None:
            self.mix.load_dict(of_type(dict, saved, "mix"))


def _evaluation(saved: object) -> Evaluation:
    """Rebuild an evaluation from the list of its values; CharlstmError if it is malformed."""
    names = [field.name for field in fields(Evaluation)]
    if not isinstance(saved, list) or len(saved) != len(names):
        raise CharlstmError(f"an evaluation must be a list of {', '.join(names)}")
    row = dict(zip(names, saved, strict=True))
    return Evaluation(integer(row, "step"), real(row, "train_loss"), real(row, "val_loss"))
