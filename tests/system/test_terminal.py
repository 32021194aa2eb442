"""No text or name moves the terminal: control characters are shown there, and kept elsewhere."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest

import charlstm
from charlstm import Vocab
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.system.terminal import CONTROLS, VisibleControls, visible

HOSTILE_TEXT = "\x1b[2J\x1b]0;title\x07\x9b5A\x7f\b\u202eevil\u202c\u2066\u2028\r\0"
COMMAND = [sys.executable, "-m", "charlstm"]


def in_terminal(*arguments, cwd=None):
    """The bytes that a terminal gets from both streams of a process of its own; its exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd
    )
    os.close(theirs)
    received = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        received += piece
    os.close(ours)
    return process.wait(60), received.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a text of control characters, under such a name, and a run of it."""
    folder = tmp_path_factory.mktemp("hostile")
    text = folder / "a\x1b[2J\u202eb\nc.txt"
    text.write_text(f"tick {HOSTILE_TEXT} tock\n" * 40, encoding="utf-8", newline="")
    charlstm.train(
        text, folder / "run\x1b[2J", hidden=8, steps=60, batch_size=4, seq_length=16, workers=1
    )
    return folder


def harmless(shown):
    """Whether no control character got through but line ends, tabs and a bar's carriage returns."""
    rest = shown.replace("\r\n", "").replace("\t", "").replace("\r", "")
    return CONTROLS.search(rest) is None


COMMANDS = {
    "sample": ["sample", "--length", "300", "--seed", "1", "--prime", "tick\x1b[2J"],
    "novelty": ["sample", "--length", "90", "--seed", "1", "--novelty"],
    "info": ["info", "RUN"],
    "json": ["info", "RUN", "--json"],
    "eval": ["eval", "TEXT", "--novelty"],
    "eval other": ["eval", "OTHER"],
    "replaced": ["eval", "OTHER", "--unknown", "replace"],
    "score": ["score", "TEXT", "--per-char"],
    "dynamic": ["eval", "TEXT", "--dynamic"],
    "train": ["train", "TEXT", "--steps", "3", "--hidden", "4", "--eval-every", "1"],
    "no file": ["train", "no\x1b[2J\r\n.txt"],
    "usage": ["sample", "--\x1b[2Jx"],
    "value": ["sample", "--length", "\x1b[2J\x9b"],
    "command": ["\x1b]0;title\x07"],
}

SHOWN = {"eval other": "\\x9d", "replaced": "\\u2067", "dynamic": "segment 20, rate "}
SHOWN |= dict.fromkeys(("json", "score"), "\\u001b")


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_moves_the_terminal(place, name, tmp_path):
    text = next(place.glob("a*.txt"))
    other = tmp_path / "other\x1b.txt"
    other.write_text("tick \x1b\x9d\u2067 tock\n" * 5, encoding="utf-8")
    run = next(place.glob("run*"))
    places = {"RUN": run, "TEXT": text, "OTHER": other}
    arguments = [places.get(a, a) for a in COMMANDS[name]]
    if name == "train":
        arguments += ["-r", tmp_path / "new\x1b[2J"]
    elif name not in ("info", "json", "no file", "command"):
        arguments += ["-r", run]
    _, shown = in_terminal(*arguments)
    assert harmless(shown), shown
    assert SHOWN.get(name, "\\x1b") in shown
    if name in ("no file", "eval other"):
        assert shown.count("\n") == 1


def test_a_sample_keeps_its_lines_and_what_is_redirected_every_byte(place):
    run = next(place.glob("run*"))
    arguments = ("sample", "-r", run, "--length", "300", "--seed", "1")
    text = charlstm.load(run).sample(300, seed=1)
    assert "\x1b" in text and "\n" in text
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True)
    assert done.stdout == f"{text}\n".encode()
    code, shown = in_terminal(*arguments)
    expected = CONTROLS.sub(lambda m: m[0] if m[0] == "\n" else repr(m[0])[1:-1], text + "\n")
    assert (code, shown) == (0, expected.replace("\n", "\r\n"))


def test_a_vocabulary_of_control_characters_is_shown_by_info(tmp_path, place):
    saved = load_checkpoint(next(place.glob("run*")) / "best.safetensors")
    vocab = Vocab.from_characters(map(chr, range(len(saved.model.vocab))))
    model = charlstm.CharModel(saved.model.config, vocab)
    save_checkpoint(tmp_path / "m", Checkpoint(model, {"\x1b[2J": "\x1b[2J", "weights": "\x9b"}))
    code, shown = in_terminal("info", tmp_path / "m")
    assert code == 0 and harmless(shown)
    lines = [line.split(None, 1) for line in shown.replace("\r\n", "\n").splitlines()]
    assert ["symbols", visible(vocab.characters)] in lines
    about = json.loads(in_terminal("info", tmp_path / "m", "--json")[1])
    assert about["symbols"] == vocab.characters


def test_a_bar_may_redraw_its_line_and_no_more():
    stream = io.StringIO()
    terminal = VisibleControls(stream, bars=True)
    for text in ("\r 50 %", "\r", "a\rb", "\x1b[A", "é\xa0\u200d\n\t", "\ud800"):
        assert terminal.write(text) == len(text)
    terminal.writelines(["x\x07", "y"])
    assert stream.getvalue() == "\r 50 %\ra\\rb\\x1b[Aé\xa0\u200d\n\t\\ud800x\\x07y"
    assert not hasattr(terminal, "buffer") and terminal.getvalue() == stream.getvalue()
    VisibleControls(stream, bars=False).write("\r")
    assert stream.getvalue().endswith("y\\r")
