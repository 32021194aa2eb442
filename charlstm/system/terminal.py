"""What keeps text from moving the terminal: control characters are shown, not sent."""

import io
import re
import sys
from typing import Any, TextIO, cast

# C0 and C1 controls (escape sequences begin with one), line and paragraph separators, what turns
# the direction of all that follows, and halves of surrogate pairs.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text in one line, all that is not printable escaped: for names, symbols and messages."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class VisibleControls:
    """A terminal's stream whose writer cannot move the cursor, but for line ends and tabs.

    bars: whether a carriage return passes at the beginning of what is written, which is how a
        progress bar redraws its line.
    """

    def __init__(self, terminal: TextIO, bars: bool) -> None:
        self._terminal, self._bars = terminal, bars

    def write(self, text: str) -> int:
        start = int(self._bars and text.startswith("\r"))
        shown = CONTROLS.sub(_escaped, text[start:])
        self._terminal.write(text[:start] + shown)
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":  # would go around `write`
            raise AttributeError(name)
        return getattr(self._terminal, name)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return character if character in "\n\t" else repr(character)[1:-1]


def protect_terminal() -> None:
    """Let nothing that this process writes move the terminal; what is redirected stays as it is."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # it may not know every character
            if stream.isatty():
                setattr(sys, name, cast(TextIO, VisibleControls(stream, name == "stderr")))
