"""EventLog: writes the events of a run to metrics.jsonl, and passes them to an observer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charlstm.runs.metrics import Event, Metrics
from charlstm.training.trainer import Trainer

Observer = Callable[[Event], None]


def ignore_event(event: Event) -> None:
    """Do nothing. This function is the observer of a run until the caller sets an observer."""


def do_nothing() -> None:
    """Do nothing. A run calls this function instead of require_lock if its folder has no lock."""


class EventLog:
    """Adds step, epoch and seconds to events, writes them to a file, and calls an observer.

    observer: a function that is called with each event that is written, and with events that are
        not written but may be shown to the user, such as "step".
    require_lock: a function that is called before the run writes a file. require_lock raises
        CharlstmError if another folder has taken the place of the run's folder.
    started: the time.monotonic() from which the seconds of events count.
    """

    def __init__(self, path: Path, trainer: Trainer, started: float) -> None:
        self.metrics = Metrics(path)
        self.observer: Observer = ignore_event
        self.require_lock: Callable[[], None] = do_nothing
        self._trainer, self._started = trainer, started

    @property
    def seconds(self) -> float:
        """Seconds since the run began, without the time between interruption and resumption."""
        return time.monotonic() - self._started

    @property
    def step(self) -> int:
        """The number of steps that were done."""
        return self._trainer.steps_done

    def stamped(self, kind: str, **facts: Any) -> Event:
        """Return an event with the present step, epoch and seconds.

        kind: the name of the event, such as "eval".
        """
        return {
            "event": kind,
            "step": self.step,
            "epoch": self._trainer.epoch,
            "seconds": round(self.seconds, 3),
            **facts,
        }

    def write(self, kind: str, **facts: Any) -> None:
        """Write an event and pass it to the observer.

        An event "notice" is also written when writing begins to fail and when writing works again.
        """
        self.require_lock()
        event = self.stamped(kind, **facts)
        had_failed = bool(self.metrics.problem)
        self.metrics.append(event)
        self.observer(event)
        if self.metrics.problem and not had_failed:
            self.write_notice(
                f"{self.metrics.problem}; training goes on, the events are written later"
            )
        elif had_failed and not self.metrics.problem:
            self.write_notice(f"{self.metrics.path}: all events are written now")

    def write_notice(self, text: str) -> None:
        """Write an event "notice" with a sentence for the user."""
        self.write("notice", text=text)
