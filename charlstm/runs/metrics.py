"""metrics.jsonl: the events of a run, one JSON object a line."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError, UnwritableError

Event = dict[str, Any]

FORMAT = 1  # in each event `start`; raised whenever events are written in another way

MAX_LINE_BYTES = 1 << 20  # no event has a longer line


class Metrics:
    """Appends events to a file; those that cannot be written wait for the next attempt.

    The file is opened for each event, so that it may be moved or read at any time.

    waiting: the events that are not written yet. problem: why they wait; "" if none does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Event] = []
        self.problem = ""

    def append(self, event: Event) -> None:
        """Write an event, after those that wait."""
        self.waiting.append(event)
        self._write(to_disk=False)

    def flush(self) -> None:
        """Flush all events to the disk, so that they survive a power cut."""
        if self.waiting or self.path.exists():
            self._write(to_disk=True)

    def _write(self, to_disk: bool) -> None:
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in self.waiting)
        try:
            with self.path.open("ab+", buffering=0) as file:
                _append_all_or_nothing(file, lines)
                if to_disk:
                    os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or error
            self.problem = f"{self.path}: cannot write {len(lines):,} bytes: {reason}"
        else:
            self.waiting, self.problem = [], ""

    def remove_after(self, step: int, keep_evaluation: bool = True) -> None:
        """Remove the events of later steps, both of the file and of those that wait.

        keep_evaluation: see remove_events_after.
        """
        self.waiting = [event for event in self.waiting if event["step"] <= step]
        remove_events_after(self.path, step, keep_evaluation)


def _append_all_or_nothing(file: FileIO, lines: bytes) -> None:
    """Append lines to a file; on OSError the file stays as it was."""
    size = file.seek(0, os.SEEK_END)
    if lines and not _ends_with_line_end(file, size):
        lines = b"\n" + lines  # the last line was torn by a crash
    try:
        while lines:
            lines = lines[file.write(lines) :]
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise


def _ends_with_line_end(file: FileIO, size: int) -> bool:
    """Whether a file of that size is empty or ends with a line end."""
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


def read_events(path: Path) -> Iterator[tuple[Event, int]]:
    """Yield each event and the offset of its line's end; lines that hold no event are skipped."""
    end = 0
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(MAX_LINE_BYTES), b""):
                end += len(line)
                if event := _parse(line):
                    yield event, end
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be read: {error.strerror}") from error


def remove_events_after(path: Path, step: int, keep_evaluation: bool = True) -> None:
    """Remove the events of later steps, and a torn line at the end, by shortening the file.

    Nothing is written anew: that needs no room on the disk, and cannot be interrupted half-way.

    keep_evaluation: False also removes an evaluation of the step itself and the events after it,
        because it will be made again.
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
        raise UnwritableError(f"{path}: cannot be shortened: {error.strerror}") from error


def require_format(path: Path) -> None:
    """Raise CharlstmError for a file of another format, or of none; it may be missing."""
    for event, _ in read_events(path):
        if event.get("format") != FORMAT:
            found = event.get("format", "none")
            raise CharlstmError(f"{path}: format {found!r:.20}, this program reads format {FORMAT}")
        return


def last_event(path: Path) -> Event:
    """Return the newest event, or an empty one if there is none."""
    newest: Event = {}
    for event, _ in read_events(path):
        newest = event
    return newest


def _parse(line: bytes) -> Event:
    """Return the event of a line, or an empty one if the line holds none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_event = isinstance(event, dict) and isinstance(event.get("step"), int)
    return event if is_event else {}
