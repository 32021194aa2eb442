"""A terminal of a given size: its text and its styles after a display has written to it."""

import io

import pyte


class Terminal(io.StringIO):
    """A stream to a terminal; `lines` are those of its screen, with marks for styles.

    Bold text stands between "**", dim text between "~~".
    """

    encoding = "utf-8"

    def __init__(self, columns, rows=60):
        super().__init__()
        self._screen = pyte.Screen(columns, rows)
        self._screen.set_mode(pyte.modes.LNM)  # a terminal driver writes a return for each line end
        self._stream = pyte.Stream(self._screen)
        self.written = ""

    def isatty(self):
        return True

    def write(self, text):
        self.written += text
        # pyte does not know the style "dim": underlined characters stand for it.
        self._stream.feed(text.replace("\x1b[2m", "\x1b[4m"))
        return len(text)

    @property
    def lines(self):
        """The lines of the screen, without empty ones at the end."""
        shown = [self._marked(row) for row in range(self._screen.lines)]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def _marked(self, row):
        cells = [self._screen.buffer[row][column] for column in range(self._screen.columns)]
        text = "".join(cell.data for cell in cells).rstrip()
        mark = "**" * cells[0].bold or "~~" * cells[0].underscore
        return f"{mark}{text}{mark}"
