"""Protection of the terminal: control characters in text are shown as escapes, not obeyed."""

import io
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

# Characters that could change the terminal: C0 and C1 controls (escape sequences begin with one),
# line and paragraph separators, characters that turn the direction of text, lone surrogates.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return a text in one line with its unprintable characters escaped, for use in messages."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class VisibleControls:
    """A stream to the terminal that escapes control characters, other than line ends and tabs.

    progress_bars: whether a carriage return at the beginning of a write is sent as it is, so that a
        progress bar can redraw its line.
    """

    def __init__(self, terminal: TextIO, progress_bars: bool) -> None:
        self._terminal, self._progress_bars = terminal, progress_bars

    def write(self, text: str) -> int:
        start = int(self._progress_bars and text.startswith("\r"))
        shown = CONTROLS.sub(_escaped, text[start:])
        self._terminal.write(text[:start] + shown)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # would bypass `write`
            raise AttributeError(name)
        return getattr(self._terminal, name)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character in "\n\t" else repr(character)[1:-1]


def protect_terminal() -> None:
    """Escape control characters in all that this process writes to a terminal.

    Output that goes to a file or a pipe keeps every character.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            # the encoding of the stream may lack some characters
            stream.reconfigure(errors="backslashreplace")
            if stream.isatty():
                setattr(sys, name, cast(TextIO, VisibleControls(stream, name == "stderr")))
