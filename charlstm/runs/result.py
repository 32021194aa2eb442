"""TrainedRun: the result of charlstm.train."""

from dataclasses import dataclass
from pathlib import Path

from charlstm.network.model import CharModel
from charlstm.runs.folder import load


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training.

    path: the folder of the run.
    best_val_loss: the lowest validation loss in nats a character; None without validation text.
    steps: the steps done, from the beginning of the run.
    reason: "finished", "stopped early" (config.stop_after), or the name of the signal that
        interrupted the run.
    warnings: sentences that say whether the model overfits or underfits, and what to change.
    """

    path: Path
    best_val_loss: float | None
    steps: int
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> CharModel:
        """The model of the lowest validation loss."""
        return load(self.path)
