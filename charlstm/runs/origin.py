"""Origin: the record of the model from whose weights a run starts (`train --init-from`)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from charlstm.text.vocab import Vocab
from charlstm.untrusted import LARGEST_INTEGER, LARGEST_REAL, entry, integer, of_type, real

MAX_SYMBOLS = 50  # A record names at most this many of the characters that were added.
# The summary of a checkpoint shows at most this many characters of a path, because an entry of a
# summary is limited in length (checkpoint.py).
MAX_PATH = 60


@dataclass(frozen=True)
class Origin:
    """The model from whose weights a run starts, and the loss from which the run starts.

    path: the run or the checkpoint file, as the user named it. The path is only shown, never
        opened.
    step: the step after which the model was saved; None if the file does not say.
    best_val_loss: the lowest validation loss of the model's own run up to this step, in nats per
        symbol of the text of that run; None if the file does not say.
    added: the number of symbols that the model's vocabulary lacks and the run's has.
    symbols: the first of these symbols, if they are characters.
    val_loss: the loss of the model on the run's validation text before the first step, in nats per
        symbol; None if it was not measured.
    mix_val_loss: the same on the validation part of the text of --mix; None without --mix.
    """

    path: str
    step: int | None
    best_val_loss: float | None
    added: int = 0
    symbols: str = ""
    val_loss: float | None = None
    mix_val_loss: float | None = None

    def extended(self, known: Vocab, vocab: Vocab) -> "Origin":
        """Return a copy that says which symbols of a run's vocabulary the model does not know.

        known: the vocabulary of the model. vocab: the vocabulary of the run.
        """
        added = sorted(set(vocab.symbols) - set(known.symbols))
        characters = [symbol for symbol in added if vocab.level == "char" and len(symbol) == 1]
        symbols = "".join(characters[:MAX_SYMBOLS])
        return replace(self, added=len(added), symbols=symbols)

    def __str__(self) -> str:
        """The origin in a few words, such as "runs/old, step 2500"; only the end of a long path."""
        path = self.path if len(self.path) <= MAX_PATH else f"...{self.path[3 - MAX_PATH :]}"
        return path if self.step is None else f"{path}, step {self.step}"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dictionary for JSON."""
        return dict(vars(self))

    @classmethod
    def of(cls, path: str, summary: Mapping[str, Any]) -> "Origin":
        """Return the record of the model in the checkpoint `path` with this summary."""
        step, loss = summary.get("step"), summary.get("best_val_loss")
        return cls(
            path,
            step if type(step) is int and 0 <= step <= LARGEST_INTEGER else None,
            loss if type(loss) is float and 0 <= loss <= LARGEST_REAL else None,
        )

    @classmethod
    def from_dict(cls, saved: object) -> "Origin":
        """Rebuild a record from a dictionary of to_dict; CharlstmError if it is malformed."""
        return cls(
            path=of_type(str, saved, "path"),
            step=None if entry(saved, "step") is None else integer(saved, "step"),
            best_val_loss=_loss(saved, "best_val_loss"),
            added=integer(saved, "added"),
            symbols=of_type(str, saved, "symbols")[:MAX_SYMBOLS],
            val_loss=_loss(saved, "val_loss"),
            mix_val_loss=_loss(saved, "mix_val_loss"),
        )


def _loss(saved: object, name: str) -> float | None:
    return None if entry(saved, name) is None else real(saved, name, least=0)
