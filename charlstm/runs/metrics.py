"""metrics.jsonl: the events of a run, one JSON object per line."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError, UnwritableError
from charlstm.system.paths import absolute, is_regular

Event = dict[str, Any]

# Each event `start` holds the number of the file format. The number is raised whenever the format
# changes.
FORMAT = 1

MAX_LINE_BYTES = 1 << 20  # The line of an event is never longer than this.


class Metrics:
    """Appends events to metrics.jsonl; events that cannot be written wait for the next attempt.

    The file is opened and closed for each event, so that the user may move or read the file at any
    time.

    path: the file, in the form in which messages name it.
    waiting: the events that are not written yet.
    problem: a message that says why events could not be written; "" if all are written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = absolute(path)  # The working directory may change during training.
        self.waiting: list[Event] = []
        self.problem = ""

    def append(self, event: Event) -> None:
        """Write the events that wait, and then this event."""
        self.waiting.append(event)
        self._write(to_disk=False)

    def flush(self) -> None:
        """Flush all events to the disk, so that they survive a power cut."""
        if self.waiting or self._at.exists():
            self._write(to_disk=True)

    def _write(self, to_disk: bool) -> None:
        """Append the events that are not yet in the file; on failure set `problem` to the reason.

        to_disk: whether the file is also forced to the disk (fsync).
        """
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in self.waiting)
        try:
            with self._at.open("ab+", buffering=0) as file:
                _append_all_or_nothing(file, lines)
                if to_disk:
                    os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or error
            self.problem = f"{self.path}: cannot write {len(lines):,} bytes: {reason}"
        else:
            self.waiting, self.problem = [], ""

    def remove_after(self, step: int, keep_evaluation: bool = True) -> None:
        """Remove the events of steps after `step`, also those that are not yet in the file.

        keep_evaluation: False also removes an evaluation of the step itself from the file, and all
            events after that evaluation.
        """
        self.waiting = [event for event in self.waiting if event["step"] <= step]
        remove_events_after(self._at, step, keep_evaluation)


def _append_all_or_nothing(file: FileIO, lines: bytes) -> None:
    """Append lines to a file; if that raises OSError, the file keeps its old content."""
    size = file.seek(0, os.SEEK_END)
    if lines and not _ends_with_line_end(file, size):
        lines = b"\n" + lines  # A crash has cut the last line of the file short.
    try:
        while lines:
            lines = lines[file.write(lines) :]
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise


def _ends_with_line_end(file: FileIO, size: int) -> bool:
    """Whether a file is empty or ends with a line end. size: the bytes of the file."""
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


def read_events(path: Path) -> Iterator[tuple[Event, int]]:
    """Yield each event of metrics.jsonl, and the offset in bytes at which its line ends.

    Lines that do not hold an event are skipped. A missing file has no events. CharlstmError if the
    file is not a regular file. A run from a stranger may hold a link, to which a resumed run would
    write, or a pipe or a device, which never ends.
    """
    end = 0
    if not os.path.lexists(path):
        return
    if not is_regular(path):
        raise CharlstmError(
            f"{path} is not a regular file: move it away to go on without its events"
        )
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                end += len(line)
                if event := _parse(line):
                    yield event, end
    except OSError as error:
        raise CharlstmError(f"{path}: the events cannot be read: {error.strerror}") from error


def remove_events_after(path: Path, step: int, keep_evaluation: bool = True) -> None:
    """Remove the events of steps after `step`, and an incomplete line at the end of the file.

    The file is only truncated, not rewritten. Truncation needs no free disk space, and a crash
    cannot leave the file half written.

    keep_evaluation: False also removes an evaluation of `step` itself, and the events after that
        evaluation, because the resumed run will repeat the evaluation.
    """
    kept = 0
    for event, end in read_events(path):
        is_later = event["step"] > step
        is_evaluation = event["step"] == step and event.get("event") == "eval"
        if is_later or (is_evaluation and not keep_evaluation):
            break
        kept = end
    try:
        if path.exists() and kept < path.stat().st_size:
            os.truncate(path, kept)
    except OSError as error:
        raise UnwritableError(
            f"{path}: cannot remove the events after step {step:,}, from which the run goes on: "
            f"{error.strerror}"
        ) from error


def require_format(path: Path) -> None:
    """Raise CharlstmError if the first event `start` names another format than FORMAT, or none.

    A file without such an event is accepted: the user may have removed or damaged its first line.
    """
    for event, _ in read_events(path):
        if event.get("event") != "start":
            continue
        if event.get("format") != FORMAT:
            found = event.get("format", "none")
            raise CharlstmError(
                f"{path}: format {found!r:.20}, this program reads format {FORMAT}: move the file "
                "away to go on without its events"
            )
        return


def last_event(path: Path) -> Event:
    """Return the newest event of metrics.jsonl; an empty dictionary if the file has no event."""
    newest: Event = {}
    for event, _ in read_events(path):
        newest = event
    return newest


def _parse(line: bytes) -> Event:
    """Return the event in a line; an empty dictionary if the line does not hold an event."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_event = isinstance(event, dict) and isinstance(event.get("step"), int)
    return event if is_event else {}
