"""Signals: Ctrl-C and SIGTERM stop a run after its current step, and clean up elsewhere."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupted(Exception):  # noqa: N818  # it is not an error
    """Raised by StopSignals.check to abandon work, as a signal has come."""


class StopSignals:
    """A context in which the first SIGINT or SIGTERM is only noted; the second acts at once.

    Only the main thread receives signals: in another thread this does nothing.

    signal_name: "SIGINT" or "SIGTERM" once one has come, else "".
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._previous_handlers: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raise Interrupted if a signal has come. For long work that can be done again."""
        if self.signal_name:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        self._restore_handlers()

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal returned it
        self._previous_handlers = {}


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Make SIGTERM raise SystemExit(143) instead of ending the process at once.

    Unfinished files are then removed and locks released, as after Ctrl-C. A handler that somebody
    has set stays.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
