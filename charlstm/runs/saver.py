"""Saver: writes the files of a run, and keeps in memory those that the disk does not take now."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from charlstm.errors import CharlstmError, UnwritableError
from charlstm.network.model import CharModel
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint
from charlstm.runs.events import EventLog
from charlstm.runs.folder import BEST, GOOD, LAST
from charlstm.system.atomic_files import atomic_write

# Checkpoints of keep_every that wait in memory for room on the disk. With more, the oldest of them
# are given up.
MAX_WAITING = 8


class Saver:
    """Writes the checkpoints of a run into its folder.

    `last` is written after the files and the metrics of its step, so that it is never ahead of
    `best`, nor of metrics that can be written.

    problem: why the checkpoints are behind the training, with the file and its size; else empty.
    saved_step: the step of the newest `last`.
    given_up: names of checkpoints that will never be written.
    """

    def __init__(self, folder: Path, events: EventLog) -> None:
        self.folder, self._events = folder, events
        self.problem = ""
        self.saved_step = 0
        self.given_up: list[str] = []
        self._waiting: dict[str, Checkpoint] = {}

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint after those that wait; if it cannot be written now, it waits too.

        A notice says when writing fails, and when it works again.
        """
        had_failed = bool(self.problem)
        for file in self._write_waiting(name, checkpoint):
            self._events.write("save", file=file)
        if self.problem and not had_failed:
            self._events.notice(
                f"{self.problem}; training goes on, and tries again when it saves next"
            )
        elif had_failed and not self.problem:
            self._events.notice(
                f"{self.folder}: saving works again; all is saved up to step {self.saved_step:,}"
            )

    def save_first(self, checkpoint: Checkpoint) -> None:
        """Write `last` before the first step; UnwritableError if that fails."""
        self._write(LAST, checkpoint)

    @property
    def good_checkpoint(self) -> Path:
        """The file with the state of the last evaluation, whenever the run was interrupted."""
        good = self.folder / GOOD
        return good if good.exists() else self.folder / LAST

    def discard_after(self, step: int) -> None:
        """Discard the events after a step, and all checkpoints that wait."""
        self._waiting.clear()
        with suppress(CharlstmError):  # the metrics then keep the events of abandoned steps
            self._events.metrics.remove_after(step)

    def require_all_written(self) -> None:
        """Raise UnwritableError, with what is lost, unless every file is written."""
        if self.problem:
            raise UnwritableError(
                f"{self.problem}; the run is saved up to step {self.saved_step:,}: make room, then "
                f"charlstm train -r {self.folder} --resume"
            )
        if self.given_up:
            raise UnwritableError(
                f"{self.folder}: {', '.join(self.given_up)} could not be written; all else is saved"
            )
        metrics = self._events.metrics
        if metrics.waiting:
            raise UnwritableError(
                f"{metrics.problem}; {len(metrics.waiting)} of its lines are lost, the model is "
                "saved"
            )

    def _write_waiting(self, newest: str, checkpoint: Checkpoint) -> list[str]:
        """Write the checkpoints that wait, then the newest; return the names of those written.

        A checkpoint that waits is a copy, as training goes on. `last` does not wait: only the
        newest one is of use.
        """
        self._waiting.pop(newest, None)
        self._waiting[newest] = checkpoint
        written = []
        try:
            for name in list(self._waiting):
                self._write(name, self._waiting[name])
                del self._waiting[name]
                written.append(name)
        except UnwritableError as error:
            self.problem = str(error)
            self._waiting.pop(LAST, None)
            if newest in self._waiting:
                self._waiting[newest] = replace(checkpoint, model=_copied(checkpoint.model))
            self._give_up_oldest()
        return written

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        if name != LAST:
            save_checkpoint(self.folder / name, checkpoint)
            return
        self._events.metrics.flush()
        follows_evaluation = not checkpoint.training["losses"]["count"]
        if not follows_evaluation:
            self._keep_good()
        save_checkpoint(self.folder / name, checkpoint)
        if follows_evaluation:
            with suppress(OSError):
                (self.folder / GOOD).unlink()
        self.problem, self.saved_step = "", int(checkpoint.summary["step"])

    def _keep_good(self) -> None:
        """Keep the present `last` as `good`, unless there is one: it is the state to return to."""
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

    def _give_up_oldest(self) -> None:
        """Keep the checkpoints that wait from filling the memory."""
        names = [name for name in self._waiting if name != BEST]
        for name in names[:-MAX_WAITING]:
            del self._waiting[name]
            self.given_up.append(name)


def _copied(model: CharModel) -> CharModel:
    copy = CharModel(model.config, model.vocab, seed=None)
    copy.parameters.copy_from(model.parameters)
    return copy
