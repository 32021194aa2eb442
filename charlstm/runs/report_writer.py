"""ReportWriter: writes report.html into the folder of a run while the run trains."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.pages.page import write_page
from charlstm.runs.events import EventLog
from charlstm.runs.folder import REPORT
from charlstm.runs.history import read_history
from charlstm.runs.ownership import is_ours
from charlstm.runs.report import SHOWN_SYMBOLS, history_data, report_page, text_measurements
from charlstm.system.paths import absolute
from charlstm.text.corpus import Split

# The largest share of a run's time that the report may take while the run goes on, and in all.
# The difference is left for the reading of text after the last evaluation.
SHARE_MEANWHILE, SHARE_IN_ALL = 0.0025, 0.0045
FREE_SECONDS = 0.1  # that the report may take beyond these shares, so that short runs have a page
FEWEST_SYMBOLS = 20  # length of the text that the model reads to find out how long reading takes


class ReportWriter:
    """Writes report.html into the folder of a run, in a small share of the run's time.

    If there is too little time, the model reads less text, and pages are left out. The first page
    and the last page are always written. While the run goes on, the time is for pages first: the
    model reads text again when the run is twice as old. A failure is a notice, and never ends the
    training.

    split: the training text and the validation text of the run.
    seconds: the time that the writer has taken so far. A resumed run has a writer of its own.
    """

    def __init__(self, folder: Path, events: EventLog, split: Split) -> None:
        self._folder, self._shown = absolute(folder), folder / REPORT
        self._events, self._split = events, split
        self._measured: dict[str, Any] = {}
        self._began, self.seconds = events.seconds, 0.0
        self._seconds_of_page = 0.0
        self._seconds_per_symbol: float | None = None
        self._next_reading = 0.0  # the age of the run, in seconds
        self._has_failed = False

    def measure(self, model: CharModel, is_last: bool) -> None:
        """Let the best model read as much of the validation text as there is time for.

        is_last: whether no other evaluation follows.
        """
        if not is_last and (self._age < self._next_reading or self._seconds_left(is_last) < 0):
            return
        self._next_reading = 2 * self._age
        if self._seconds_per_symbol is None:
            self._read(model, FEWEST_SYMBOLS)
        seconds = self._seconds_left(is_last) * (1 if is_last else 0.5)
        symbols = seconds / max(self._seconds_per_symbol or 0, 1e-9)
        if symbols > FEWEST_SYMBOLS:
            self._read(model, int(min(symbols, SHOWN_SYMBOLS)))

    def write(self, state: str) -> None:
        """Write the page; while the run is running, only if there is time for it.

        state: "running", "finished" or "interrupted".
        """
        if state == "running" and self._seconds_left(is_last=False) < 0:
            return
        self._events.require_lock()
        self._seconds_of_page = self._seconds_of(lambda: self._write(state))

    def _read(self, model: CharModel, symbols: int) -> None:
        """Measure the validation text. symbols: the length of the text that the model reads."""

        def read() -> None:
            measured = text_measurements(model, self._split, symbols, symbols)
            self._measured = measured | {"measured_step": self._events.step}

        self._seconds_per_symbol = self._seconds_of(read) / symbols

    def _write(self, state: str) -> None:
        path = self._folder / REPORT
        if path.exists() and not is_ours(path):
            raise CharlstmError(f"{self._shown} exists, and charlstm did not write it")
        data = history_data(self._folder, read_history(self._folder), state)
        write_page(path, report_page([data | self._measured], live=state == "running"))

    def _seconds_left(self, is_last: bool) -> float:
        """Return the seconds that the report may still take now, besides those for one page."""
        share = SHARE_IN_ALL if is_last else SHARE_MEANWHILE
        return FREE_SECONDS + share * self._age - self.seconds - self._seconds_of_page

    @property
    def _age(self) -> float:
        """The seconds since the run began, or was resumed."""
        return self._events.seconds - self._began

    def _seconds_of(self, work: Callable[[], None]) -> float:
        """Do a piece of work; return how long it took. The first failure is a notice."""
        began = time.monotonic()
        try:
            work()
        except Exception as error:  # A picture of the run must never end the run.
            if not self._has_failed:
                self._has_failed = True
                reason = str(error) if isinstance(error, CharlstmError) else repr(error)
                self._events.write_notice(
                    f"the report of the run cannot be written: {reason}; training goes on"
                )
        seconds = time.monotonic() - began
        self.seconds += seconds
        return seconds
