"""Saver: writes the checkpoints of a run, and keeps in memory those that cannot be written yet."""

import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from charlstm.errors import CharlstmError, UnwritableError, quoted
from charlstm.network.model import CharModel
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint
from charlstm.runs.events import EventLog
from charlstm.runs.folder import BEST, GOOD, LAST
from charlstm.system.atomic_files import atomic_write
from charlstm.system.disk import is_full
from charlstm.system.paths import absolute

# At most this many checkpoints of the setting keep_every wait in memory for space on the disk. The
# oldest waiting checkpoints beyond this number are dropped and never written.
MAX_WAITING = 8


class Saver:
    """Writes the checkpoints of a run into its folder.

    last.safetensors, from which a run resumes, is written after the other checkpoints and the
    events of the same step. Therefore last.safetensors is never newer than best.safetensors, and is
    newer than metrics.jsonl only while events cannot be written.

    folder: the absolute path of the folder, as the working directory may change during training.
    shown: the path of the folder in the form that the user gave, for messages.
    problem: a message that says which file could not be written, and why; "" if all are written.
    saved_step: the step of the newest last.safetensors that was written.
    given_up: names of checkpoints that waited too long and will never be written.
    """

    def __init__(self, folder: Path, events: EventLog) -> None:
        self.folder, self.shown, self._events = absolute(folder), folder, events
        self.problem = ""
        self._disk_is_full = False
        self.saved_step = 0
        self.given_up: list[str] = []
        self._waiting: dict[str, Checkpoint] = {}

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write all waiting checkpoints and then `checkpoint`; if that fails, `checkpoint` waits.

        An event "notice" is also written when writing begins to fail and when writing works again.

        name: the name of the file.
        """
        self._events.require_lock()
        had_failed = bool(self.problem)
        for file in self._write_waiting(name, checkpoint):
            self._events.write("save", file=file)
        if self.problem and not had_failed:
            self._events.write_notice(
                f"{self.problem}; training goes on, and the next save tries to write the file again"
            )
        elif had_failed and not self.problem:
            self._events.write_notice(
                f"{self.shown}: saving works again; the run is saved up to step {self.saved_step:,}"
            )

    def save_first(self, checkpoint: Checkpoint) -> None:
        """Write last.safetensors before the first step; UnwritableError if that fails."""
        self._write(LAST, checkpoint)

    @property
    def good_checkpoint(self) -> Path:
        """The path of the checkpoint with the state at the last evaluation.

        If there is no good.safetensors, last.safetensors holds the state at the last evaluation.
        """
        good = self.folder / GOOD
        return good if good.exists() else self.folder / LAST

    def discard_after(self, step: int) -> None:
        """Discard the events after a step, and all checkpoints that wait to be written."""
        self._waiting.clear()
        # If the events cannot be removed, metrics.jsonl keeps those of the abandoned steps.
        with suppress(CharlstmError):
            self._events.metrics.remove_after(step)

    def require_all_written(self) -> None:
        """Raise UnwritableError if a checkpoint or an event of the run could not be written."""
        if not self.folder.exists():
            raise UnwritableError(
                f"{self.shown}: the folder was removed or moved during training, and nothing was "
                f"saved after that; if it was moved, it has the run up to step {self.saved_step:,}"
            )
        if self.problem:
            if not (self.folder / LAST).exists():
                raise UnwritableError(
                    f"{self.problem}; the run cannot be resumed, as {LAST} was removed or moved"
                )
            advice = "make room" if self._disk_is_full else "remove the cause"
            raise UnwritableError(
                f"{self.problem}; the run is saved up to step {self.saved_step:,}: {advice}, then "
                f"`charlstm.train(run={quoted(self.shown)}, resume=True)`"
            )
        if self.given_up:
            raise UnwritableError(
                f"{self.shown}: the checkpoints {', '.join(self.given_up)} could not be written; "
                "all other files are saved"
            )
        metrics = self._events.metrics
        if metrics.waiting:
            raise UnwritableError(
                f"{metrics.problem}; the last {len(metrics.waiting)} events are lost, but the "
                "model is saved"
            )

    def _write_waiting(self, newest: str, checkpoint: Checkpoint) -> list[str]:
        """Write all waiting checkpoints and then a new one; return the names of the files written.

        A checkpoint that could not be written is kept with a copy of the weights, because training
        goes on changing them. A checkpoint for last.safetensors is not kept, because the next save
        writes a newer one.

        newest, checkpoint: the name of the file and the content of the new checkpoint.
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
            cause = error.__cause__
            self._disk_is_full = isinstance(cause, OSError) and is_full(cause)
            self._waiting.pop(LAST, None)
            if newest in self._waiting:
                self._waiting[newest] = replace(checkpoint, model=_copied(checkpoint.model))
            self._give_up_oldest()
        return written

    def _write(self, name: str, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; for last.safetensors, flush the events and update good.safetensors.

        good.safetensors is made when last.safetensors would replace the state at the last
        evaluation, and removed when last.safetensors holds the state at a new evaluation.
        """
        if name != LAST:
            save_checkpoint(self.shown / name, checkpoint, at=self.folder / name)
            return
        self._events.metrics.flush()
        follows_evaluation = not checkpoint.training["losses"]["count"]
        if not follows_evaluation:
            self._keep_good()
        save_checkpoint(self.shown / name, checkpoint, at=self.folder / name)
        if follows_evaluation:
            with suppress(OSError):
                (self.folder / GOOD).unlink()
        self.problem, self.saved_step = "", int(checkpoint.summary["step"])

    def _keep_good(self) -> None:
        """Keep the present last.safetensors as good.safetensors, unless good.safetensors exists.

        After a divergence, the run returns to the state in good.safetensors.
        """
        last, good = self.folder / LAST, self.folder / GOOD
        if good.exists():
            return
        try:
            try:
                os.link(last, good)  # A hard link needs no space on the disk.
            except OSError:  # Some file systems have no hard links.
                with atomic_write(good) as file, last.open("rb") as source:
                    shutil.copyfileobj(source, file)
        except OSError as error:
            raise UnwritableError(
                f"{self.shown / GOOD}: the checkpoint cannot be written: {error.strerror or error}"
            ) from error

    def _give_up_oldest(self) -> None:
        """Drop the oldest waiting checkpoints beyond MAX_WAITING, but never best.safetensors.

        The checkpoints that wait thus need a limited amount of memory.
        """
        names = [name for name in self._waiting if name != BEST]
        for name in names[:-MAX_WAITING]:
            del self._waiting[name]
            self.given_up.append(name)


def _copied(model: CharModel) -> CharModel:
    """Return a model with the same config and vocabulary, and a copy of the parameters."""
    copy = CharModel(model.config, model.vocab, seed=None)
    copy.parameters.copy_from(model.parameters)
    return copy
