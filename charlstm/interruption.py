"""Ctrl-C and SIGTERM as a wish to stop after the current step, not in the middle of it."""

import signal
import threading
from types import FrameType, TracebackType


class Interruption:
    """While entered, the first SIGINT or SIGTERM is only noted; the second acts at once.

    Signals reach the main thread only; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.signal_name = ""  # "SIGINT" or "SIGTERM" once one came
        self._previous: dict[signal.Signals, object] = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        self._restore()

    def __enter__(self) -> "Interruption":
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
