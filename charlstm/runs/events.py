"""EventLog: what happens in a run, for metrics.jsonl and for an observer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charlstm.runs.metrics import Event, Metrics
from charlstm.training.trainer import Trainer

Observer = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing: the observer of a run that nobody observes."""


class EventLog:
    """Stamps events with step, epoch and seconds, writes them and passes them to an observer.

    observer: called with each event that is written, and with a few more that are only shown.
    started: the time.monotonic() from which `seconds` counts.
    """

    def __init__(self, path: Path, trainer: Trainer, started: float) -> None:
        self.metrics = Metrics(path)
        self.observer: Observer = ignore_event
        self._trainer, self._started = trainer, started

    @property
    def is_observed(self) -> bool:
        """Whether an observer sees the events that are only shown."""
        return self.observer is not ignore_event

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between interruption and resumption."""
        return time.monotonic() - self._started

    def stamped(self, kind: str, **facts: Any) -> Event:
        """Return an event of that kind with the present step, epoch and time."""
        return {
            "event": kind,
            "step": self._trainer.steps_done,
            "epoch": self._trainer.epoch,
            "seconds": round(self.seconds, 3),
            **facts,
        }

    def write(self, kind: str, **facts: Any) -> None:
        """Write an event and pass it on; a notice says when writing fails and works again."""
        event = self.stamped(kind, **facts)
        had_failed = bool(self.metrics.problem)
        self.metrics.append(event)
        self.observer(event)
        if self.metrics.problem and not had_failed:
            self.notice(f"{self.metrics.problem}; training goes on, these lines are written later")
        elif had_failed and not self.metrics.problem:
            self.notice(f"{self.metrics.path}: the lines that waited are written")

    def notice(self, text: str) -> None:
        """Write a notice: a sentence for the user."""
        self.write("notice", text=text)
