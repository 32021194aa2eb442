"""FittedBar: a progress bar that leaves out fields if the terminal is too narrow for all."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from tqdm import tqdm

from charlstm.system.terminal import DEFAULT_COLUMNS, columns_of, messages_stream
from charlstm.system.wording import duration, fitted, unit_of_size

GRAPH = 16  # columns of the graph
Fields = Sequence[tuple[int, str]]  # pairs (rank, text), as `fitted` takes them


class FittedBar(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A progress bar on standard error, if that is a terminal; elsewhere it writes nothing.

    The line has a margin of one column, and is erased when the bar is closed.

    activity: the word before the bar, such as "measuring".
    fields: a function that returns the fields of the line; by default the activity, the percentage,
        the time left, how much is done, and a graph.
    file: by default standard error. options: further arguments of tqdm.
    """

    # tqdm starts no thread that redraws bars: where none can be started, tqdm prints a warning with
    # a line of code. With miniters=1 the bar needs no such thread: each update looks at the clock.
    monitor_interval = 0
    activity = ""
    fields: Callable[[], Fields] | None = None

    def __init__(
        self,
        total: int,
        unit: str,
        activity: str,
        fields: Callable[[], Fields] | None = None,
        file: TextIO | None = None,
        **options: Any,
    ) -> None:
        stream = messages_stream() if file is None else file
        self.activity, self.fields = activity, fields
        super().__init__(
            total=total,
            unit=unit,
            file=stream,
            disable=columns_of(stream) is None,
            leave=False,
            miniters=1,
            **options,
        )

    def __str__(self) -> str:
        """The line of the bar, as wide as the terminal at most."""
        columns = columns_of(self.fp) or DEFAULT_COLUMNS
        return fitted(self.fields() if self.fields else self._default_fields(), columns - 1)

    def _default_fields(self) -> Fields:
        elapsed, left = self.format_dict["elapsed"], ""
        if self.n and elapsed:
            left = f"{duration(elapsed * (self.total - self.n) / self.n)} left"
        return [
            (0, f"{self.activity}: {percentage(self.n, self.total)}"),
            (3, graph(self.n, self.total, self.fp)),
            (2, _amount(self.n, self.total, self.unit)),
            (1, left),
        ]


def notebook_bar(unit: str) -> Any:
    """Return tqdm's bar for notebooks; None outside of a notebook, or without ipywidgets."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return None
    from tqdm.notebook import tqdm as bar

    try:
        return bar(unit=unit, leave=False)
    except ImportError:  # ipywidgets is missing.
        return None


def percentage(done: float, total: float) -> str:
    """Return how much of the total is done, such as "40%", rounded down."""
    return f"{int(100 * done / total) if total else 100}%"


def graph(done: float, total: float, stream: TextIO) -> str:
    """Return a bar of GRAPH columns, which is filled as far as the work is done."""
    in_unicode = (getattr(stream, "encoding", None) or "").lower().startswith("utf")
    full, empty = "█░" if in_unicode else "#."
    filled = min(GRAPH, int(GRAPH * done / total)) if total else GRAPH
    return full * filled + empty * (GRAPH - filled)


def _amount(done: float, total: float, unit: str) -> str:
    """Return how much is done in words: "0.5 of 3.4 GB", or "120 of 3,000 characters"."""
    if unit != "B":
        return f"{int(done):,} of {int(total):,} {unit}s"
    exponent, name = unit_of_size(total)
    size = 1000**exponent
    return f"{done / size:.1f} of {total / size:.1f} {name}" if exponent else f"{total:,} bytes"
