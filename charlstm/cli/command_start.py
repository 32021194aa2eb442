"""The moment from which a command's time budget, --minutes, counts.

The first command of a process counts from the import of this module, which comes soon after the
start of the process. A later command in the same process, as in a test, counts from its call.
"""

import time

_starts = {"process": time.monotonic()}


def begin_command() -> None:
    """Record the start of the current command.

    The first command of a process starts with the process, a later command with this call.
    """
    _starts["command"] = _starts.pop("process", time.monotonic())


def command_start() -> float:
    """Return the time.monotonic() at which the current command began."""
    return _starts.get("command", time.monotonic())
