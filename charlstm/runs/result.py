"""TrainedRun: the result of charlstm.train."""

import math
from dataclasses import dataclass
from pathlib import Path

from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.pages.page import notebook_frame
from charlstm.runs.folder import load
from charlstm.runs.report import report_page, run_data


@dataclass(frozen=True)
class TrainedRun:
    """The result of a training, which `charlstm.train` returns.

    path: the folder of the run.
    best_val_loss: the lowest validation loss in nats per `unit`; None without validation text.
    steps: the number of training steps since the run began, including those before a resumption.
    reason: why the training ended: "finished", "stopped early" (see the setting stop_after), or the
        name of the signal that interrupted the run.
    warnings: sentences that say whether the model overfits or underfits, or had a learning rate
        that was too low or too high, and which option to change.
    unit: the kind of symbol that the model predicts: "character", "byte" or "word".
    best_step: the step with the lowest validation loss, whose weights `model` has; None without
        validation text.
    """

    path: Path
    best_val_loss: float | None
    steps: int
    reason: str
    warnings: tuple[str, ...] = ()
    unit: str = "character"
    best_step: int | None = None

    @property
    def best_val_bits(self) -> float | None:
        """The lowest validation loss in bits per `unit`; None without validation text."""
        return None if self.best_val_loss is None else self.best_val_loss / math.log(2)

    def _repr_html_(self) -> str | None:
        """Return the report of the run for a notebook; None if the run was moved or removed."""
        try:
            data, _, _ = run_data(self.path)
        except CharlstmError:
            return None
        return notebook_frame(report_page([data]), height=640)

    @property
    def model(self) -> CharModel:
        """The model with the lowest validation loss, loaded from the run's folder."""
        return load(self.path)
