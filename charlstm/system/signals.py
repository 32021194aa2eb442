"""Signals: Ctrl-C and SIGTERM stop a run after its current step; other work is cleaned up."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupted(Exception):  # noqa: N818  # an interruption is not an error
    """Raised by StopSignals.check after a signal, to abandon the current work."""


class StopSignals:
    """A context that records the first SIGINT or SIGTERM without ending the process.

    A second signal has its usual effect. Only the main thread receives signals: in another thread
    the context does nothing.

    signal_name: "SIGINT" or "SIGTERM" after such a signal, else "".
    """

    def __init__(self) -> None:
        self.signal_name = ""
        self._previous_handlers: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raise Interrupted after a signal.

        Work that takes long, and that can be repeated later, calls this method from time to time.
        """
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

    As after Ctrl-C, unfinished files are then removed and locks are released. An existing handler
    of SIGTERM is kept.
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
