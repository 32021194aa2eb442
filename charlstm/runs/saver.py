"""Writes the files of a run; what cannot be written now waits in memory for the next time."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from charlstm.errors import CharlstmError, UnwritableError
from charlstm.network.model import CharModel
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint
from charlstm.runs.folder import BEST, GOOD, LAST, METRICS
from charlstm.runs.metrics import Metrics
from charlstm.system.atomic_files import atomic_write

MOST_WAITING = 8  # checkpoints in memory; beyond, the oldest of those kept by the way are given up


class Saver:
    """The checkpoints and the metrics of a run in its folder.

    `last` comes after all that it tells of: it is never ahead of `best`, nor of metrics that can be
    written.

    problem: why the checkpoints are behind the training, naming the file and its bytes; else empty.
    saved_step: that of the newest `last`.
    given_up: names of checkpoints that will not come to be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.metrics = Metrics(folder / METRICS)
        self.problem = ""
        self.saved_step = 0
        self.given_up: list[str] = []
        self._waiting: dict[str, Checkpoint] = {}

    def save(self, name: str, checkpoint: Checkpoint) -> list[str]:
        """Write a checkpoint after those that wait; the names of the files written.

        What cannot be written now waits, as a copy. But for `last`: of that only the newest is of
        any use.
        """
        self._waiting.pop(name, None)
        self._waiting[name] = checkpoint
        written = []
        try:
            for each in list(self._waiting):
                self._write(each, self._waiting[each])
                del self._waiting[each]
                written.append(each)
        except UnwritableError as error:
            self.problem = str(error)
            self._waiting.pop(LAST, None)
            if name in self._waiting:
                self._waiting[name] = replace(checkpoint, model=_copied(checkpoint.model))
            self._give_up()
        return written

    def save_first(self, checkpoint: Checkpoint) -> None:
        """Write `last` as it stands before the first step: where that cannot be, raise."""
        self._write(LAST, checkpoint)

    @property
    def good(self) -> Path:
        """The state of the last evaluation, which does not depend on when a run was interrupted."""
        good = self.folder / GOOD
        return good if good.exists() else self.folder / LAST

    def go_back(self, step: int) -> None:
        """Forget what came after a step."""
        self._waiting.clear()
        with suppress(CharlstmError):  # then the metrics tell more than what counts
            self.metrics.forget_after(step)

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        if name != LAST:
            save_checkpoint(self.folder / name, checkpoint)
            return
        self.metrics.flush()
        follows_evaluation = not checkpoint.training["losses"]["count"]
        if not follows_evaluation:
            self._keep_good()
        save_checkpoint(self.folder / name, checkpoint)
        if follows_evaluation:
            with suppress(OSError):
                (self.folder / GOOD).unlink()
        self.problem, self.saved_step = "", int(checkpoint.summary["step"])

    def _keep_good(self) -> None:
        """Keep what `last` is now, which is the state of an evaluation while there is no `good`."""
        last, good = self.folder / LAST, self.folder / GOOD
        if good.exists():
            return
        try:
            try:
                os.link(last, good)  # takes no room
            except OSError:  # not on every file system
                with atomic_write(good) as file, last.open("rb") as source:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise UnwritableError(
                f"{good}: cannot be written: {error.strerror or error}"
            ) from error

    def _give_up(self) -> None:
        names = [name for name in self._waiting if name != BEST]
        for name in names[:-MOST_WAITING]:
            del self._waiting[name]
            self.given_up.append(name)

    def require_all_written(self) -> None:
        """Raise UnwritableError with what is lost."""
        if self.problem:
            raise UnwritableError(
                f"{self.problem}; what is saved is of step {self.saved_step:,}: make room, then "
                f"charlstm train -r {self.folder} --resume"
            )
        if self.given_up:
            raise UnwritableError(
                f"{self.folder}: {', '.join(self.given_up)} could not be written; all else is saved"
            )
        if self.metrics.waiting:
            raise UnwritableError(
                f"{self.metrics.problem}; {len(self.metrics.waiting)} of its lines are lost, the "
                "model is saved"
            )


def _copied(model: CharModel) -> CharModel:
    copy = CharModel(model.config, model.vocab, seed=None)
    copy.parameters.copy_from(model.parameters)
    return copy
