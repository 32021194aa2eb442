"""metrics.jsonl: what happened in a run, one JSON object a line."""

import json
from pathlib import Path
from typing import Any

from .errors import CharlstmError
from .files import written_whole

Event = dict[str, Any]


def append_event(path: Path, event: Event) -> None:
    """Add a line. The file is opened for each, so that it may be moved or read at any time."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
    except OSError as error:
        raise CharlstmError(f"{path}: cannot be written: {error.strerror}") from error


def forget_events_after(path: Path, step: int) -> None:
    """Drop the events of later steps, and what is no event, as a line torn by a crash."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    with written_whole(path) as file:
        for line in lines:
            event = _event(line)
            if event and event.get("step", 0) <= step:
                file.write(line + b"\n")


def last_event(path: Path) -> Event:
    """The event of the last line; empty if there is none."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    return _event(lines[-1]) if lines else {}


def _event(line: bytes) -> Event:
    """The event of a line; empty if it is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
