"""Signals in the first moments of a command, in which it imports its modules: they end it at once.

This module imports almost nothing, so that little time passes before the signals are handled.
"""

import os
import signal

# Windows has no SIGHUP.
SIGNALS = [signal.Signals[n] for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def end_at_once_on_signals() -> None:
    """Make signals end this process at once, without a message, with exit code 128 + number.

    There is nothing to clean up yet, and an exception in the middle of an import may be lost or
    change into another one. A handler that another program has set is kept.
    """
    for number in SIGNALS:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, end_process)


def end_process(number: int, frame: object) -> None:
    """End this process, as a handler of signals."""
    os._exit(128 + number)
