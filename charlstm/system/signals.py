"""Ctrl-C and SIGTERM as a wish to stop after the current step, not in the middle of it."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupted(Exception):  # noqa: N818  # it is no error
    """What is being done is given up, as a signal came."""


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is only noted; the second acts at once.

    Signals reach the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signal_name = ""  # "SIGINT" or "SIGTERM" once one came
        self._previous: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raise Interrupted if a signal came: for what takes long and can be done again."""
        if self.signal_name:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        self._restore()

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal.signal gave it
        self._previous = {}


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM, which otherwise ends the process on the spot, raise SystemExit(143) instead.

    Then what was being written is removed, and the lock given back, as after Ctrl-C.
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
