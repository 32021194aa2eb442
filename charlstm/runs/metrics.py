"""metrics.jsonl: what happened in a run, one JSON object a line."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

from charlstm.errors import CharlstmError, UnwritableError

Event = dict[str, Any]

FORMAT = 1  # in the event `start`; raised whenever events are written otherwise

LONGEST_LINE = 1 << 20  # bytes: of what is longer none is an event of ours


class Metrics:
    """Adds lines to a file; those that cannot be written now wait for the next one.

    The file is opened for each, so that it may be moved or read at any time.

    problem: why lines wait; empty if none does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Event] = []
        self.problem = ""

    def append(self, event: Event) -> None:
        """Add a line, after those that wait."""
        self.waiting.append(event)
        self._write(to_disk=False)

    def flush(self) -> None:
        """Bring all lines to the disk itself, where a power cut leaves them."""
        if self.waiting or self.path.exists():
            self._write(to_disk=True)

    def _write(self, to_disk: bool) -> None:
        lines = b"".join(json.dumps(event).encode() + b"\n" for event in self.waiting)
        try:
            with self.path.open("ab+", buffering=0) as file:
                _write_whole(file, lines)
                if to_disk:
                    os.fsync(file.fileno())
        except OSError as error:
            reason = error.strerror or error
            self.problem = f"{self.path}: cannot write {len(lines):,} bytes: {reason}"
        else:
            self.waiting, self.problem = [], ""

    def forget_after(self, step: int, evaluated: bool = True) -> None:
        """Drop the events of later steps, and what was told since an evaluation not made yet.

        evaluated: whether the evaluation of the step itself, if it has one, is done.
        """
        self.waiting = [event for event in self.waiting if event["step"] <= step]
        forget_events_after(self.path, step, evaluated)


def _write_whole(file: FileIO, lines: bytes) -> None:
    """Add lines to a file, or leave it as it was."""
    size = file.seek(0, os.SEEK_END)
    if lines and not _ends_a_line(file, size):
        lines = b"\n" + lines
    try:
        while lines:
            lines = lines[file.write(lines) :]
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise


def _ends_a_line(file: FileIO, size: int) -> bool:
    """Whether a line that is added now begins at the start of one: else a crash tore the last."""
    if size == 0:
        return True
    file.seek(size - 1)
    return file.read(1) == b"\n"


def read_events(path: Path) -> Iterator[tuple[Event, int]]:
    """Each event, and where its line ends; what is none, as a line torn by a crash, is left out."""
    end = 0
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for line in iter(lambda: file.readline(LONGEST_LINE), b""):
                end += len(line)
                if event := _event(line):
                    yield event, end
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be read: {error.strerror}") from error


def forget_events_after(path: Path, step: int, evaluated: bool = True) -> None:
    """Cut off the events of later steps, and what is none at the end.

    Without `evaluated` also those from an evaluation of the step on, which will be made again.

    Nothing is written anew: that takes no room on the disk, and none of it can be half done.
    """
    kept = 0
    for event, end in read_events(path):
        is_later = event["step"] > step
        if is_later or (event["step"] == step and event.get("event") == "eval" and not evaluated):
            break
        kept = end
    try:
        if path.exists() and kept < path.stat().st_size:
            os.truncate(path, kept)
    except OSError as error:
        raise UnwritableError(f"{path}: cannot be shortened: {error.strerror}") from error


def require_format(path: Path) -> None:
    """Raise CharlstmError for metrics of another format, or of none; a file may be missing."""
    for event, _ in read_events(path):
        if event.get("format") != FORMAT:
            found = event.get("format", "none")
            raise CharlstmError(f"{path}: format {found!r:.20}, this program reads format {FORMAT}")
        return


def last_event(path: Path) -> Event:
    """The newest event; empty if there is none."""
    newest: Event = {}
    for event, _ in read_events(path):
        newest = event
    return newest


def _event(line: bytes) -> Event:
    """The event of a line; empty if it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_one = isinstance(event, dict) and isinstance(event.get("step"), int)
    return event if is_one else {}
