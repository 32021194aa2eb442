"""The moment from which a command's time budget, --minutes, counts.

The first command of a process began with the process, of which only the import of this module is
known. A later command in the same process, as in a test or a program that calls commands, begins
when it is called.
"""

import time

_starts = {"process": time.monotonic()}


def begin_command() -> None:
    """Take note that a command begins now, or began with the process if it is the first."""
    _starts["command"] = _starts.pop("process", time.monotonic())


def command_start() -> float:
    """Return the time.monotonic() at which the present command began."""
    return _starts.get("command", time.monotonic())
