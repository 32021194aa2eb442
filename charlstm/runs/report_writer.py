"""ReportWriter: writes report.html into the folder of a run while the run trains."""

import time
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError
from charlstm.network.model import CharModel
from charlstm.pages.page import write_page
from charlstm.runs.events import EventLog
from charlstm.runs.folder import REPORT
from charlstm.runs.history import read_history
from charlstm.runs.ownership import is_ours
from charlstm.runs.report import history_data, report_page, text_measurements
from charlstm.system.paths import absolute
from charlstm.text.corpus import Split

# The report takes at most this share of the time of a run, and FREE_SECONDS.
TIME_SHARE, FREE_SECONDS = 0.005, 0.1
# Lengths in symbols of the text that the model reads, as in report.text_measurements: short, as a
# larger model takes half a millisecond for each symbol that is shown.
SHOWN_SYMBOLS, COUNTED_SYMBOLS = 600, 4_000


class ReportWriter:
    """Writes report.html into the folder of a run, in a small share of the run's time.

    If the time is used up, a page or a measurement is left out, but never those at the end of the
    run. A failure is a notice, and never ends the training.

    split: the training text and the validation text of the run.
    """

    def __init__(self, folder: Path, events: EventLog, split: Split) -> None:
        self._folder, self._shown = absolute(folder), folder / REPORT
        self._events, self._split = events, split
        self._measured: dict[str, Any] = {}
        self._spent = 0.0  # seconds, of all that this class did
        self._seconds_of = {"measure": 0.0, "write": 0.0}  # of the newest call
        self._has_failed = False

    def measure(self, model: CharModel, is_last: bool) -> None:
        """Let the best model read a part of the validation text, if there is time for it.

        is_last: whether no other evaluation follows. The model then reads the text in any case.
        """
        if is_last or self._has_time("measure", "write"):
            self._try("measure", self._measure, model)

    def write(self, state: str) -> None:
        """Write the page; while the run is running, only if there is time for it.

        state: "running", "finished" or "interrupted".
        """
        if state == "running" and not self._has_time("write"):
            return
        self._events.require_lock()
        self._try("write", self._write, state)

    def _measure(self, model: CharModel) -> None:
        measured = text_measurements(model, self._split, SHOWN_SYMBOLS, COUNTED_SYMBOLS)
        self._measured = measured | {"measured_step": self._events.step}

    def _write(self, state: str) -> None:
        path = self._folder / REPORT
        if path.exists() and not is_ours(path):
            raise CharlstmError(f"{self._shown} exists, and charlstm did not write it")
        data = history_data(self._folder, read_history(self._folder), state)
        write_page(path, report_page([data | self._measured], live=state == "running"))

    def _has_time(self, *names: str) -> bool:
        """Return whether there is time for work of these names, by the time that it took before."""
        needed = self._spent + sum(self._seconds_of[name] for name in names)
        return needed <= FREE_SECONDS + TIME_SHARE * self._events.seconds

    def _try(self, name: str, work: Any, argument: Any) -> None:
        """Do work of a name, and count its time; after the first failure write a notice."""
        began = time.monotonic()
        try:
            work(argument)
        except Exception as error:  # A picture of the run must never end the run.
            if not self._has_failed:
                self._has_failed = True
                reason = str(error) if isinstance(error, CharlstmError) else repr(error)
                self._events.write_notice(
                    f"the report of the run cannot be written: {reason}; training goes on"
                )
        self._seconds_of[name] = time.monotonic() - began
        self._spent += self._seconds_of[name]
