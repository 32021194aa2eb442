"""A signal that arrives while a command still imports its modules ends the command at once.

This module imports almost nothing, so that little time passes before the signals are handled.
"""

import os
import signal

# Windows has no SIGHUP.
SIGNALS = [signal.Signals[n] for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def end_at_once_on_signals() -> None:
    """Make signals end this process at once, without a message.

    The exit code is 128 + the number of the signal. Signals raise no exception here, because an
    exception in the middle of an import may be lost or change into another one. While modules are
    imported, there are no files to clean up. A handler that another program has set is kept.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end_process)


def end_process(number: int, frame: object) -> None:
    """End this process, as a handler of signals."""
    os._exit(128 + number)
