"""Standard output and error: they escape control characters for a terminal and report lost results.

A result that cannot be written is an error. A message that cannot be written, such as to a pipe
whose reader is gone, is dropped.
"""

import errno
import io
import os
import re
import shlex
import string
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

DEFAULT_COLUMNS = 80  # the assumed width of a terminal that does not report its width

# Characters that could change the state of the terminal: C0 and C1 controls, which begin escape
# sequences, line and paragraph separators, and characters that change the direction of text. Lone
# surrogates are escaped as well.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

# The sequences that begin and end a style.
STYLES = {"bold": "\x1b[1m", "dim": "\x1b[2m"}
END_OF_STYLE = "\x1b[0m"


def visible(text: str) -> str:
    """Return a text in one line with its unprintable characters escaped, for use in messages."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def visible_lines(text: str) -> str:
    """Return a text with its control characters escaped, other than line ends and tabs."""
    return CONTROLS.sub(_escaped, text)


def shell_word(text: str) -> str:
    """Return a text, such as a path, as one word of a command line, for use in messages.

    A text that standard error cannot show as it is gets the form $'...', in which bash, zsh and
    other shells read \\ and three octal digits as a byte.
    """
    try:
        text.encode(getattr(sys.stderr, "encoding", None) or "ascii")
        if text.isprintable():
            return shlex.quote(text)
    except UnicodeEncodeError:
        pass
    plain = frozenset(b"/._-+,:@%= " + string.ascii_letters.encode() + string.digits.encode())
    data = os.fsencode(text)
    return "$'" + "".join(chr(b) if b in plain else f"\\{b:03o}" for b in data) + "'"


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
        if name == "buffer":  # Writing to the buffer would bypass `write`.
            raise AttributeError(name)
        return getattr(self._stream, name)


class VisibleControls(_Wrapper):
    """A stream to the terminal that escapes control characters, other than line ends and tabs.

    progress_bars: whether to keep a carriage return at the beginning of a text, which progress bars
        write to redraw their line.
    """

    def __init__(self, terminal: TextIO, progress_bars: bool) -> None:
        super().__init__(terminal)
        self.unescaped = terminal
        self._progress_bars = progress_bars

    def write(self, text: str) -> int:
        start = int(self._progress_bars and text.startswith("\r"))
        shown = visible_lines(text[start:])
        self._stream.write(text[:start] + shown)
        return len(text)


class DropsUnwritable(_Wrapper):
    """A stream that drops text that it cannot write: its reader is gone, or the disk is full.

    A command must not fail only because a message or a progress bar cannot be shown. Also, a
    progress bar that raised an error while it held its lock would block the progress bars of other
    threads for ever.
    """

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


class _StandardOutput(io.FileIO):
    """The file below sys.stdout: its errors say that standard output could not be written.

    After an error, all later text is dropped, so that Python does not fail again when it writes the
    rest of the text at its exit.
    """

    _has_failed = False

    def write(self, data: Any) -> int:
        if self._has_failed:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self._has_failed = True
            error.filename = "standard output"
            if error.errno == errno.EBADF:
                error.strerror = "it is closed: redirect it to a file"
            raise


def columns_of(stream: TextIO) -> int | None:
    """Return the width of the terminal that a stream writes to; None if it is not a terminal.

    The environment variable COLUMNS overrides the width that the terminal reports.
    """
    if not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):  # e.g. a stream without a file
        return DEFAULT_COLUMNS


def write_styled(stream: TextIO, text: str, style: str | None = None) -> None:
    """Write a line to a stream, in a style of STYLES where styles are shown.

    Styles are shown on terminals, but not on a dumb one, nor if the environment variable NO_COLOR
    is set (no-color.org).
    """
    environ = os.environ
    plain = not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM") == "dumb"
    if style is None or plain:
        stream.write(f"{text}\n")
        return
    # The sequences of the style bypass VisibleControls, which would escape them.
    unescaped = stream.unescaped if isinstance(stream, VisibleControls) else stream
    unescaped.write(STYLES[style])
    stream.write(text)
    unescaped.write(f"{END_OF_STYLE}\n")


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character in "\n\t" else repr(character)[1:-1]


def messages_stream() -> TextIO:
    """Return a stream to standard error that drops text if standard error is closed or missing."""
    stream: Any = sys.stderr
    if stream is None:  # A process may be started without standard error.
        return Path(os.devnull).open("w")
    return cast(TextIO, stream if isinstance(stream, _Wrapper) else DropsUnwritable(stream))


def prepare_standard_streams() -> None:
    """Prepare standard output and error for a command, even if they are closed or missing.

    - An error in writing standard output says that standard output could not be written. If
      standard output is closed, the first text that is written raises OSError.
    - Text that cannot be written to standard error is dropped.
    - Control characters are escaped in all text that goes to a terminal. Output that goes to a file
      or a pipe keeps every character.
    """
    _fill_missing_descriptors()
    # A test, or another program, may have set a stream of its own: it is used as it is.
    if sys.stdout is None or sys.stdout is sys.__stdout__:
        sys.stdout = _open_standard_output(sys.stdout)
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            # Characters that the encoding of the stream lacks are written as escapes.
            stream.reconfigure(errors="backslashreplace")
            protected: Any = messages_stream() if name == "stderr" else stream
            if stream.isatty():
                protected = VisibleControls(protected, progress_bars=name == "stderr")
            setattr(sys, name, protected)
    if sys.stderr is None:
        sys.stderr = messages_stream()


def discard_unwritable_output() -> None:
    """Write the rest of standard output, or discard the rest if it cannot be written.

    Otherwise, Python would try to write the rest while it exits, and replace the exit code by 120.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):  # ValueError: the stream is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _fill_missing_descriptors() -> None:
    """Open the null device in place of standard input, output and error, where they are closed.

    A file that is opened while standard output is closed, such as a checkpoint, would take the
    place of standard output, and results would be written into that file. The null device is opened
    for reading only: writing a result raises OSError.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # A file that is opened gets the lowest free descriptor, which is `descriptor`.
            os.open(os.devnull, os.O_RDONLY)


def _open_standard_output(stream: TextIO | None) -> TextIO:
    """Return a stream to standard output. stream: the one that Python has opened, if any."""
    return io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(1, "w", closefd=False)),
        encoding=stream.encoding if stream else "utf-8",
        line_buffering=stream is not None and stream.isatty(),
    )
