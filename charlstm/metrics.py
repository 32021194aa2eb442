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
            if _is_event_until(line, step):
                file.write(line + b"\n")


def _is_event_until(line: bytes, step: int) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("step", 0) <= step
