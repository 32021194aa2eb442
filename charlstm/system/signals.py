"""Handling of signals: a run stops after its current step, other work ends after cleaning up.

The signals are SIGINT (Ctrl-C), SIGTERM and SIGHUP (the terminal was closed). A signal that is
ignored stays ignored: a shell ignores SIGINT for its background jobs, and nohup ignores SIGHUP.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from charlstm.system.early_signals import SIGNALS, end_process


def exit_code(signal_name: str) -> int:
    """Return the exit code of a command that a signal has ended; 0 if no signal has the name."""
    return 128 + signal.Signals[signal_name] if signal_name in signal.Signals.__members__ else 0


def raise_interruption(signal_name: str) -> None:
    """Raise KeyboardInterrupt for SIGINT, SystemExit for another signal, and nothing for ""."""
    if signal_name == "SIGINT":
        raise KeyboardInterrupt
    if signal_name:
        sys.exit(exit_code(signal_name))


RESEND_SECONDS = 0.01  # until a signal is sent again


class Interrupted(Exception):  # noqa: N818  # an interruption is not an error
    """Raised by StopSignals.check after a signal, to abandon the current work."""


class StopSignals:
    """A context that records the first signal without ending the process.

    A second SIGINT or SIGTERM has its usual effect if `once`. A second SIGHUP has no effect,
    because a terminal that is closed often sends two, and a system that is shut down sends SIGTERM
    and SIGHUP. Only the main thread receives signals: in another thread the context does nothing.

    once: False if a second signal has no effect, because the processes of torchrun all pass on the
        same signal.
    signal_name: "SIGINT", "SIGTERM" or "SIGHUP" after such a signal, else "".
    """

    def __init__(self, once: bool = True) -> None:
        self.signal_name, self._once = "", once
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def check(self) -> None:
        """Raise Interrupted after a signal.

        Long work inside the context should call this method between its parts.
        """
        if self.signal_name:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.signal_name = self.signal_name or name
        if name != "SIGHUP" and self._once:
            self._restore_handlers((signal.SIGINT, signal.SIGTERM))

    def __enter__(self) -> "StopSignals":
        self._previous_handlers = _replace_handlers(lambda number: self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore_handlers(SIGNALS)

    def _restore_handlers(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._previous_handlers:
                signal.signal(number, self._previous_handlers.pop(number))


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Make signals raise SystemExit(128 + number), or KeyboardInterrupt for SIGINT.

    The exception makes the interrupted code remove unfinished files and release locks. A handler
    that another program has set is kept.

    Python drops exceptions in the callbacks of weak references and in __del__. A signal whose
    exception was dropped there is sent again.
    """
    previous = _replace_handlers(
        lambda number: signal.default_int_handler if number == signal.SIGINT else _raise_exit,
        only=(signal.SIG_DFL, end_process),
    )
    previous_hook = sys.unraisablehook

    def send_again(dropped: Any) -> None:
        error = dropped.exc_value
        if isinstance(error, KeyboardInterrupt):
            number = int(signal.SIGINT)
        elif isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
            number = error.code - 128
            signal.signal(number, _raise_exit)  # SIGHUP is ignored by now
        else:
            previous_hook(dropped)
            return
        # A signal that is sent here would raise its exception here, where Python drops it too.
        threading.Timer(RESEND_SECONDS, os.kill, (os.getpid(), number)).start()

    sys.unraisablehook = send_again
    try:
        yield
    finally:
        sys.unraisablehook = previous_hook
        for number, handler in previous.items():
            signal.signal(number, handler)


def _raise_exit(number: int, frame: FrameType | None) -> None:
    if signal.Signals(number).name == "SIGHUP":
        signal.signal(number, signal.SIG_IGN)  # A second SIGHUP must not disturb the cleaning up.
    sys.exit(128 + number)


def _replace_handlers(
    handler_of: Callable[[signal.Signals], Any], only: tuple[Any, ...] = ()
) -> dict[signal.Signals, Any]:
    """Set the handlers of all signals that are not ignored; return the previous ones, by signal.

    only: if given, the handlers that may be replaced. In other threads than the main thread,
        nothing is done.
    """
    previous: dict[signal.Signals, Any] = {}
    if threading.current_thread() is not threading.main_thread():
        return previous
    for number in SIGNALS:
        handler = signal.getsignal(number)
        # A handler that other code than Python's has set is kept: it could not be restored later.
        # For such a handler, getsignal returns None.
        if handler not in (None, signal.SIG_IGN) and (not only or handler in only):
            previous[number] = signal.signal(number, handler_of(number))
    return previous
