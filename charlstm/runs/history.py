"""History: the events of a run, checked, as tables of numbers for pages and exports.

metrics.jsonl may come from a stranger: entries of a wrong type are left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from charlstm.runs.folder import LOCK, METRICS
from charlstm.runs.lock_holder import is_running, read_holder
from charlstm.runs.metrics import Event, read_events
from charlstm.system.terminal import visible
from charlstm.untrusted import LARGEST_INTEGER, LARGEST_REAL

TRAIN_COLUMNS = ("train_loss", "learning_rate", "gradient_norm", "characters_per_second")
EVAL_COLUMNS = ("train_loss", "val_loss", "mix_val_loss")
# Characters of a notice, of a sample and of a name that are kept.
MAX_SENTENCE, MAX_SAMPLE, MAX_NAME = 500, 2_000, 100

Table = dict[str, list[Any]]  # columns of equal length by name; None stands for a missing number


@dataclass
class History:
    """The events of a run, in order.

    steps: the number of steps that the run has done, by any of its events.
    start, stop: the newest events of these names; {} without one. A run that was resumed after it
        had stopped has no `stop` until it stops again.
    given: the settings that the user gave at the beginning; None if the run does not record them.
    train, evaluations: the events `train` and `eval`; the columns are "step", "seconds", and
        those of TRAIN_COLUMNS or EVAL_COLUMNS. `evaluations` also has "averaged": whether averaged
        weights had the loss val_loss.
    samples: (step, text) of each sample.
    recoveries: (step, sentence) of each return to an earlier state.
    resumptions: the step of each resumption.
    notices: sentences for the user, without those that name a path.
    """

    steps: int = 0
    start: Event = field(default_factory=dict)
    stop: Event = field(default_factory=dict)
    given: dict[str, Any] | None = None
    train: Table = field(default_factory=lambda: _table(*TRAIN_COLUMNS))
    evaluations: Table = field(default_factory=lambda: _table(*EVAL_COLUMNS, "averaged"))
    samples: list[tuple[int, str]] = field(default_factory=list)
    recoveries: list[tuple[int, str]] = field(default_factory=list)
    resumptions: list[int] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """The duration of the run until the newest event in the tables."""
        seconds = [*self.train["seconds"][-1:], *self.evaluations["seconds"][-1:]]
        return max((each for each in seconds if each is not None), default=None)

    @property
    def best(self) -> int | None:
        """The index of the first evaluation with the lowest validation loss."""
        losses = self.evaluations["val_loss"]
        known = [k for k, loss in enumerate(losses) if loss is not None]
        return min(known, key=losses.__getitem__, default=None)

    @property
    def best_val_loss(self) -> float | None:
        """The lowest validation loss, in nats."""
        return None if self.best is None else float(self.evaluations["val_loss"][self.best])


def read_history(folder: Path) -> History:
    """Return the history of the run in a folder; an empty one if the folder has no events."""
    history = History()
    for event, _ in read_events(folder / METRICS):
        if not 0 <= event["step"] <= LARGEST_INTEGER:
            continue
        history.steps = max(history.steps, event["step"])
        kind = event.get("event")
        add = _ADDITIONS.get(kind) if isinstance(kind, str) else None
        if add is not None:
            add(history, event)
    return history


def state_of(folder: Path, history: History) -> str:
    """Return "running", "finished" or "interrupted"."""
    holder = read_holder(folder / LOCK)
    if holder is not None and is_running(holder):
        return "running"
    return "finished" if history.stop.get("reason") in ENDS_OF_RUN else "interrupted"


ENDS_OF_RUN = ("finished", "stopped early")


def finite(value: object) -> float | None:
    """Return a value if it is a finite number of ordinary size; None for all others."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value if abs(value) <= LARGEST_REAL else None
    return None


def sentence(value: object) -> str:
    """Return a sentence for the user in one line; "" if it is none, or if it names a path.

    The path of a file tells the names of users and folders.
    """
    if not isinstance(value, str) or re.search(r"[/\\]", value):
        return ""
    return visible(value[:MAX_SENTENCE])


def file_name(path: str) -> str:
    """Return the name of a file, without its folders, of a path of any system."""
    return visible(re.split(r"[/\\]", path)[-1][:MAX_NAME])


def public_path(path: str) -> str:
    """Return a path as others may see it: a path below the working directory as it was given.

    Any other path tells the names of users and folders: it becomes the name of its file.
    """
    parts = re.split(r"[/\\]", path)
    is_below = parts[0] not in ("", "~") and ":" not in parts[0] and ".." not in parts
    return visible(path) if is_below and len(path) <= MAX_SENTENCE else file_name(path)


def thinned(table: Table, most: int) -> Table:
    """Return at most about `most` rows of a table, without loss of an extremum of a column.

    The rows are divided into equal parts in their order. Of each part, the first and the last row
    are kept, and the rows with the lowest and the highest value of each column.
    """
    rows = len(table["step"])
    if rows <= most:
        return table
    columns = [column for name, column in table.items() if name not in ("step", "seconds")]
    parts = max(1, most // (2 * len(columns) + 2))
    borders = [rows * k // parts for k in range(parts + 1)]
    kept: set[int] = set()
    for first, stop in pairwise(borders):
        kept |= {first, stop - 1}
        for column in columns:
            known = [k for k in range(first, stop) if column[k] is not None]
            if known:
                kept |= {min(known, key=column.__getitem__), max(known, key=column.__getitem__)}
    return {name: [column[k] for k in sorted(kept)] for name, column in table.items()}


def _table(*columns: str) -> Table:
    return {name: [] for name in ("step", "seconds", *columns)}


def _add_row(table: Table, event: Event, columns: Sequence[str]) -> None:
    table["step"].append(event["step"])
    for name in ("seconds", *columns):
        table[name].append(finite(event.get(name)))


def _add_start(history: History, event: Event) -> None:
    if event.get("finished") is True:
        return  # The run had finished before, and nothing was trained.
    if event.get("resumed") is True:
        history.resumptions.append(event["step"])
    if isinstance(given := event.get("given"), dict):
        history.given = given
    history.start, history.stop = event, {}
    if isinstance(notices := event.get("notices"), list):
        history.notices += filter(None, map(sentence, notices))


def _add_train(history: History, event: Event) -> None:
    _add_row(history.train, event, TRAIN_COLUMNS)


def _add_evaluation(history: History, event: Event) -> None:
    _add_row(history.evaluations, event, EVAL_COLUMNS)
    history.evaluations["averaged"].append(event.get("weights") == "average")


def _add_sample(history: History, event: Event) -> None:
    if isinstance(text := event.get("text"), str):
        history.samples.append((event["step"], text[:MAX_SAMPLE]))


def _add_recovery(history: History, event: Event) -> None:
    factor = finite(event.get("rate_factor"))
    rate = "" if factor is None else f", from there on with {factor:g} of the learning rate"
    cause = sentence(event.get("cause")) or "the run diverged"
    history.recoveries.append((event["step"], f"{cause}: back to step {event['step']:,}{rate}"))


def _add_notice(history: History, event: Event) -> None:
    history.notices += filter(None, [sentence(event.get("text"))])


def _set_stop(history: History, event: Event) -> None:
    history.stop = event


_ADDITIONS = {
    "start": _add_start,
    "train": _add_train,
    "eval": _add_evaluation,
    "sample": _add_sample,
    "recovery": _add_recovery,
    "notice": _add_notice,
    "stop": _set_stop,
}
