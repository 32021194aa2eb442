"""What a run has measured on its validation text: which evaluation is the best, how long ago."""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from charlstm.arrays import Ids
from charlstm.network.model import CharModel
from charlstm.network.scoring import evaluate
from charlstm.system.threads import Workers
from charlstm.untrusted import integer, real_value

MOST_CHARACTERS = 1_000_000  # are evaluated during training
FEWEST_CHARACTERS = 1_000  # so many are, however short the time


@dataclass(frozen=True)
class Evaluation:
    """Losses in nats a character after `step` steps.

    train_loss: the mean over the steps since the evaluation before, each under its dropout and
        with the weights of its time. val_loss: of the weights that were best just then.
    """

    step: int
    train_loss: float
    val_loss: float


class Validation:
    """The validation text of a run and all evaluations on it; waited: since the best of them.

    A text of one character has nothing to predict, nor has one of empty lines for a model of lines:
    then `possible` is False, and `best` stays None.

    line_end: its id, for a model of lines.
    """

    def __init__(self, ids: Ids, line_end: int | None = None) -> None:
        self.ids, self._line_end = ids[:MOST_CHARACTERS], line_end
        self.evaluations: list[Evaluation] = []
        self.evaluations_since_best = 0

    @property
    def possible(self) -> bool:
        """Whether there is anything to predict."""
        if self._line_end is None:
            return len(self.ids) > 1
        return bool((self.ids != self._line_end).any())

    def shorten(self, most: int) -> None:
        """Evaluate on so much of the beginning of the text, if there is that much."""
        self.ids = self.ids[: max(most, FEWEST_CHARACTERS)]

    @property
    def best(self) -> Evaluation | None:
        """The evaluation of the lowest validation loss, the first of several."""
        return min(self.evaluations, key=lambda e: e.val_loss, default=None)

    @property
    def best_val_loss(self) -> float | None:
        """The lowest validation loss so far."""
        return None if self.best is None else self.best.val_loss

    @property
    def val_loss(self) -> float | None:
        """The newest validation loss."""
        return self.evaluations[-1].val_loss if self.evaluations else None

    def evaluate(
        self,
        models: Mapping[str, CharModel],
        workers: Workers,
        check: Callable[[], None] = lambda: None,
    ) -> dict[str, float]:
        """The loss of each model, by its name; of none where there is nothing to predict.

        check: called again and again, and may raise an exception to end it.
        """
        if not self.possible:
            return {}
        return {
            name: evaluate(
                model, self.ids, workers=workers, progress=lambda _: check()
            ).nats_per_character
            for name, model in models.items()
        }

    def add(self, evaluation: Evaluation) -> bool:
        """Take note of an evaluation; whether it is the best so far."""
        best = self.best
        is_best = best is None or evaluation.val_loss < best.val_loss
        self.evaluations_since_best = 0 if is_best else self.evaluations_since_best + 1
        self.evaluations.append(evaluation)
        return is_best

    def to_dict(self) -> dict[str, Any]:
        """The evaluations so far, for JSON."""
        return {
            "characters": len(self.ids),
            "evaluations": [astuple(e) for e in self.evaluations],
            "evaluations_since_best": self.evaluations_since_best,
        }

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from what to_dict gave."""
        self.evaluations = [
            Evaluation(
                integer({"step": step}, "step"),
                real_value("train_loss", train_loss),
                real_value("val_loss", val_loss),
            )
            for step, train_loss, val_loss in saved["evaluations"]
        ]
        self.evaluations_since_best = integer(saved, "evaluations_since_best")
        self.shorten(integer(saved, "characters"))
