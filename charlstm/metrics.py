"""metrics.jsonl: what happened in a run, one JSON object a line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import CharlstmError

Event = dict[str, Any]


def append_event(path: Path, event: Event) -> None:
    """Add a line. The file is opened for each, so that it may be moved or read at any time."""
    line = json.dumps(event).encode() + b"\n"
    try:
        with path.open("ab+") as file:
            if not _ends_a_line(file):
                line = b"\n" + line
            file.write(line)
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be written: {error.strerror}") from error


def flush_events(path: Path) -> None:
    """Bring the lines to the disk itself, where a power cut leaves them."""
    if path.exists():
        with path.open("ab") as file:
            os.fsync(file.fileno())


def read_events(path: Path) -> Iterator[tuple[Event, int]]:
    """Each event, and where its line ends; what is none, as a line torn by a crash, is left out."""
    end = 0
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            if event := _event(line):
                yield event, end


def forget_events_after(path: Path, step: int) -> None:
    """Cut off the events of later steps, and what is none at the end.

    Nothing is written anew: that takes no room on the disk, and none of it can be half done.
    """
    kept = 0
    for event, end in read_events(path):
        if event["step"] > step:
            break
        kept = end
    try:
        if path.exists() and kept < path.stat().st_size:
            os.truncate(path, kept)
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be shortened: {error.strerror}") from error


def last_event(path: Path) -> Event:
    """The newest event; empty if there is none."""
    newest: Event = {}
    for event, _ in read_events(path):
        newest = event
    return newest


def _ends_a_line(file: Any) -> bool:
    """Whether a line that is added now begins at the start of one: else a crash tore the last."""
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) == b"\n")


def _event(line: bytes) -> Event:
    """The event of a line; empty if it is none."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    is_one = isinstance(event, dict) and isinstance(event.get("step"), int)
    return event if is_one else {}
