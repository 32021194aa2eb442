"""TrainedRun: the result of charlstm.train."""

from dataclasses import dataclass
from pathlib import Path

from charlstm.network.model import CharModel
from charlstm.runs.folder import load


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training, which `charlstm.train` returns.

    path: the folder of the run.
    best_val_loss: the lowest validation loss in nats per character; None without validation text.
    steps: the number of training steps since the run began, including those before a resumption.
    reason: why the training ended: "finished", "stopped early" (see the setting stop_after), or the
        name of the signal that interrupted the run.
    warnings: sentences that say whether the model overfits or underfits, or had a learning rate
        that was too low or too high, and which option to change.
    """

    path: Path
    best_val_loss: float | None
    steps: int
    reason: str
    warnings: tuple[str, ...] = ()

    @property
    def model(self) -> CharModel:
        """The model with the lowest validation loss, loaded from the run's folder."""
        return load(self.path)
