"""Standard output and error: control characters are escaped, and closed streams do no harm."""

import io
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

# Characters that could change the terminal: C0 and C1 controls (escape sequences begin with one),
# line and paragraph separators, characters that turn the direction of text, lone surrogates.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return a text in one line with its unprintable characters escaped, for use in messages."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class _Wrapper:
    """A stream that changes how text is written to another stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # would bypass `write`
            raise AttributeError(name)
        return getattr(self._stream, name)


class VisibleControls(_Wrapper):
    """A stream to the terminal that escapes control characters, other than line ends and tabs.

    progress_bars: whether a carriage return at the beginning of a write is sent as it is, so that a
        progress bar can redraw its line.
    """

    def __init__(self, terminal: TextIO, progress_bars: bool) -> None:
        super().__init__(terminal)
        self._progress_bars = progress_bars

    def write(self, text: str) -> int:
        start = int(self._progress_bars and text.startswith("\r"))
        shown = CONTROLS.sub(_escaped, text[start:])
        self._stream.write(text[:start] + shown)
        return len(text)


class DropsUnwritable(_Wrapper):
    """A stream that drops text that cannot be written: its reader is gone, or the disk is full.

    Messages and progress bars go here. Work must not fail with them, and a bar that raises while it
    holds its lock would block the bars of other threads for ever.
    """

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character in "\n\t" else repr(character)[1:-1]


def messages_stream() -> TextIO:
    """Return a stream to standard error that drops text where that is closed or does not exist."""
    stream: Any = sys.stderr
    if stream is None:  # in a process that was started without one
        return Path(os.devnull).open("w")
    return cast(TextIO, stream if isinstance(stream, _Wrapper) else DropsUnwritable(stream))


def protect_terminal() -> None:
    """Escape control characters in all that this process writes to a terminal.

    Output that goes to a file or a pipe keeps every character. Text that cannot be written to
    standard error is dropped.
    """
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            # the encoding of the stream may lack some characters
            stream.reconfigure(errors="backslashreplace")
            protected: Any = messages_stream() if name == "stderr" else stream
            if stream.isatty():
                protected = VisibleControls(protected, progress_bars=name == "stderr")
            setattr(sys, name, protected)
    if sys.stderr is None:
        sys.stderr = messages_stream()
