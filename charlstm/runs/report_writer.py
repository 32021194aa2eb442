"""ReportWriter: writes report.html into the folder of a run while the run trains."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.pages.page import write_page
from charlstm.runs.events import EventLog
from charlstm.runs.folder import REPORT, load
from charlstm.runs.history import read_history
from charlstm.runs.ownership import is_ours
from charlstm.runs.report import (
    COUNTED_SYMBOLS,
    SHOWN_SYMBOLS,
    history_data,
    report_page,
    text_measurements,
)
from charlstm.system.paths import absolute
from charlstm.text.corpus import Split

# The largest share of a run's time that the report may take while the run goes on, and in all.
# The difference is left for the reading of text at the end.
SHARE_MEANWHILE, SHARE_IN_ALL = 0.0025, 0.0045
FREE_SECONDS = 0.1  # that the report may take beyond these shares, so that short runs have a page
# The report of a short run may take this long in all, so that its last page says enough.
SECONDS_IN_ALL = 0.5
FEWEST_SYMBOLS = 20  # length of the text that the model reads to find out how long reading takes


class ReportWriter:
    """Writes report.html into the folder of a run, in a small share of the run's time.

    If there is too little time, the model reads less text, and pages are left out. The first page
    and the last page are always written. While the run goes on, the time is for pages first: the
    model reads text again when the run is twice as old. A failure is a notice, and never ends the
    training. At the end of the run, the model with the lowest validation loss reads the text.

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

    def measure(self, model: CharModel) -> None:
        """Let the best model so far read as much of the validation text as there is time for."""
        if self._age < self._next_reading or self._seconds_left(is_last=False) < 0:
            return
        self._next_reading = 2 * self._age
        step = {"measured_step": self._events.step}
        if self._seconds_per_symbol is None:
            self._read(model, FEWEST_SYMBOLS, step)
        symbols = self._affordable_symbols(self._seconds_left(is_last=False) / 2)
        if symbols > FEWEST_SYMBOLS:
            self._read(model, min(symbols, SHOWN_SYMBOLS), step)

    def write(self, state: str) -> None:
        """Write the page; while the run is running, only if there is time for it.

        state: "running", "finished" or "interrupted".
        """
        if state == "running" and self._seconds_left(is_last=False) < 0:
            return
        self._events.require_lock()
        if state != "running":
            self._measure_at_end()
        self._seconds_of_page = self._seconds_of(lambda: self._write(state))

    def _measure_at_end(self) -> None:
        """Let the best model of the run read as much text as there is time for.

        Short readings take more time per symbol than long ones. The model therefore reads again as
        long as there is time for at least twice the text.
        """
        models: list[CharModel] = []
        self._seconds_of(lambda: models.append(load(self._folder)))
        most = SHOWN_SYMBOLS + min(len(self._split.validation), COUNTED_SYMBOLS)
        for model in models:
            symbols = FEWEST_SYMBOLS
            self._read(model, symbols, {})
            while symbols < most:
                affordable = self._affordable_symbols(self._seconds_left(is_last=True))
                if affordable < 2 * symbols:
                    break
                symbols = min(affordable, most)
                self._read(model, symbols, {})

    def _affordable_symbols(self, seconds: float) -> int:
        """Return the number of symbols that the model reads in a time."""
        return int(seconds / max(self._seconds_per_symbol or 0, 1e-9))

    def _read(self, model: CharModel, symbols: int, facts: dict[str, Any]) -> None:
        """Measure the validation text.

        symbols: the number of symbols that the model reads. Those beyond SHOWN_SYMBOLS are the
            symbols whose losses are only counted; the shown symbols are read again for the counts.
        facts: entries that the page gets besides the measurements.
        """
        shown = min(symbols, SHOWN_SYMBOLS)
        counted = max(shown, symbols - shown)

        def read() -> None:
            self._measured = text_measurements(model, self._split, shown, counted) | facts

        self._seconds_per_symbol = self._seconds_of(read) / (symbols if counted > shown else shown)

    def _write(self, state: str) -> None:
        path = self._folder / REPORT
        if path.exists() and not is_ours(path):
            raise CharlstmError(f"{self._shown} exists, and charlstm did not write it")
        data = history_data(self._folder, read_history(self._folder), state)
        write_page(path, report_page([data | self._measured], live=state == "running"))

    def _seconds_left(self, is_last: bool) -> float:
        """Return the seconds that the report may still take now, besides those for one page."""
        allowed = FREE_SECONDS + (SHARE_IN_ALL if is_last else SHARE_MEANWHILE) * self._age
        if is_last:
            allowed = max(allowed, SECONDS_IN_ALL)
        return allowed - self.seconds - self._seconds_of_page

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
