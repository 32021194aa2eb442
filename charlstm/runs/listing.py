"""The list of runs in a folder: the size, the progress and the state of each."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.runs.folder import LAST, METRICS
from charlstm.runs.history import History, finite, read_history, state_of
from charlstm.runs.report import files_of, model_in_words, unit_of


@dataclass(frozen=True)
class ListedRun:
    """A run in a list of runs. An entry is None if the run does not record it.

    name: the name of the folder. corpus: the names of the text's files. parameters: their number.
    best_loss: the lowest validation loss in nats per `unit`. seconds: the duration of the training.
    age: the seconds since the run was changed. state: "running", "finished", "interrupted" or
    "unreadable". problem: why the events of an unreadable run cannot be read.
    """

    name: str
    corpus: str
    model: str
    parameters: int | None
    steps: int | None
    best_loss: float | None
    unit: str
    seconds: float | None
    age: float
    state: str
    problem: str | None = None


def list_runs(root: Path) -> list[ListedRun]:
    """Return the runs in the folders of a folder, the one that was changed last first."""
    if not root.is_dir():
        raise CharlstmError(f"{root}: no folder of runs: charlstm train begins a run in it")
    try:
        folders = sorted(path for path in root.iterdir() if os.path.lexists(path / METRICS))
    except OSError as error:
        raise CharlstmError(f"{root}: cannot be read: {error.strerror}") from error
    return sorted((_listed(folder) for folder in folders), key=lambda run: run.age)


def _listed(folder: Path) -> ListedRun:
    try:
        history, problem = read_history(folder), None
    except CharlstmError as error:  # The other runs are listed all the same.
        history, problem = History(), str(error)
    newest = max(
        (path.stat().st_mtime for path in (folder / METRICS, folder / LAST) if path.exists()),
        default=0.0,
    )
    parameters = _number(history, "parameters")
    return ListedRun(
        name=folder.name,
        corpus=", ".join(files_of(history.start)),
        model=model_in_words(history.start),
        parameters=None if parameters is None else int(parameters),
        steps=None if problem else history.steps,
        best_loss=history.best_val_loss,
        unit=unit_of(history.start),
        seconds=history.seconds,
        age=max(0.0, time.time() - newest),
        state="unreadable" if problem else state_of(folder, history),
        problem=problem,
    )


def _number(history: History, name: str) -> float | None:
    value: Any = history.start.get(name)
    return finite(value)
