"""The stream that shows control characters as escapes."""

import io
import os
import shlex
import subprocess
import sys

import pytest

from charlstm.system.terminal import VisibleControls, shell_word, visible


def test_a_progress_bar_may_redraw_its_line_and_no_more():
    stream = io.StringIO()
    terminal = VisibleControls(stream, progress_bars=True)
    for text in ("\r 50 %", "\r", "a\rb", "\x1b[A", "é\xa0\u200d\n\t", "\ud800"):
        assert terminal.write(text) == len(text)
    terminal.writelines(["x\x07", "y"])
    assert stream.getvalue() == "\r 50 %\ra\\rb\\x1b[Aé\xa0\u200d\n\t\\ud800x\\x07y"
    assert not hasattr(terminal, "buffer") and terminal.getvalue() == stream.getvalue()
    VisibleControls(stream, progress_bars=False).write("\r")
    assert stream.getvalue().endswith("y\\r")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb\x1b[2J", "a\\nb\\x1b[2J"), ("é\u202e\xa0", "é\\u202e\\xa0"), ("日 本", "日 本")],
)
def test_visible_text_is_one_line_without_control_characters(text, shown):
    assert visible(text) == shown


def test_no_file_takes_the_number_of_a_closed_standard_stream():
    code = (
        "import sys; from charlstm.system.terminal import prepare_standard_streams as prepare;"
        "prepare(); sys.exit(open(sys.executable).fileno())"
    )
    command = f"'{sys.executable}' -c '{code}' <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], timeout=60).returncode > 2


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("name", ["a", "it's", "a\tb 1", "\x1b7'\\", "é7 $x", "日", "\udcff"])
def test_a_shell_reads_a_word_as_the_text_that_it_stands_for(name, encoding, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding))
    word = shell_word(name)
    assert word.encode(encoding) and word.isprintable()
    if name in ("a", "é7 $x") and encoding == "utf-8":
        assert word == shlex.quote(name)
    printed = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert printed.stdout == os.fsencode(name)
