"""Commands show control characters as escapes on a terminal, and keep them elsewhere."""

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import termios
from threading import Thread

import pytest
from command_line import COMMAND
from run_files import events_of

import charlstm
from charlstm import Vocab
from charlstm.cli.main import main
from charlstm.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from charlstm.system.terminal import CONTROLS, visible

CONTROL_TEXT = "\x1b[2J\x1b]0;title\x07\x9b5A\x7f\b\u202eevil\u202c\u2066\u2028\r\0"


def call_in_terminal(*arguments):
    """Run a command in this process, with a terminal as its standard streams.

    Returns the exit code, and the text that the terminal gets from both streams.
    """
    ours, theirs = pty.openpty()
    received = []
    reader = Thread(target=lambda: received.append(read_to_end(ours)))
    reader.start()
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
            for name in ("stdout", "stderr"):
                patch.setattr(sys, name, os.fdopen(os.dup(theirs), "w", 1, encoding="utf-8"))
            patch.setattr(sys, "stdin", os.fdopen(os.dup(theirs), encoding="utf-8"))
            try:
                main(list(map(str, arguments)), prog_name="charlstm")
            finally:
                for stream in (sys.stdout, sys.stderr, sys.stdin):
                    stream.close()
    finally:
        os.close(theirs)
        reader.join()
    return caught.value.code, received[0]


def run_in_terminal(*arguments):
    """Run a command in a process of its own, with a terminal as its standard streams."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    received = read_to_end(ours)
    return process.wait(60), received


def read_to_end(descriptor):
    """Read and close our side of a terminal."""
    received = b""
    while True:
        try:
            data = os.read(descriptor, 65_536)
        except OSError:  # the other side is closed
            break
        if not data:
            break
        received += data
    os.close(descriptor)
    return received.decode()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a text of control characters and a run, both with such names."""
    folder = tmp_path_factory.mktemp("controls")
    text = folder / "a\x1b[2J\u202eb\nc.txt"
    text.write_text(f"tick {CONTROL_TEXT} tock\n" * 40, encoding="utf-8", newline="")
    charlstm.train(
        text, folder / "run\x1b[2J", hidden=8, steps=60, batch_size=4, seq_length=16, workers=1
    )
    return folder


def harmless(shown):
    """Whether a text has no control characters but line ends, tabs, those of bars, and styles."""
    rest = re.sub("\r\n|\t|\r|\x1b\\[[012]m", "", shown)
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

# Texts that show that a command has printed its control characters, where they are not "\\x1b".
SHOWN = {"eval other": "\\x9d", "replaced": "\\u2067", "dynamic": "segment 20, rate "}
SHOWN |= dict.fromkeys(("json", "score"), "\\u001b")


@pytest.mark.parametrize(
    "in_terminal", [call_in_terminal, pytest.param(run_in_terminal, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_sends_control_characters_to_the_terminal(place, name, tmp_path, in_terminal):
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


def test_a_sample_keeps_its_lines_on_a_terminal_and_every_byte_in_a_pipe(place):
    run = next(place.glob("run*"))
    arguments = ("sample", "-r", run, "--length", "300", "--seed", "1")
    text = charlstm.load(run).sample(300, seed=1)
    assert "\x1b" in text and "\n" in text
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True)
    assert done.stdout == f"{text}\n".encode()
    code, shown = run_in_terminal(*arguments)
    expected = CONTROLS.sub(lambda m: m[0] if m[0] == "\n" else repr(m[0])[1:-1], text + "\n")
    assert (code, shown) == (0, expected.replace("\n", "\r\n"))


def test_a_vocabulary_of_control_characters_is_shown_by_info(tmp_path, place):
    saved = load_checkpoint(next(place.glob("run*")) / "best.safetensors")
    vocab = Vocab.from_characters(map(chr, range(len(saved.model.vocab))))
    model = charlstm.CharModel(saved.model.config, vocab)
    save_checkpoint(tmp_path / "m", Checkpoint(model, {"\x1b[2J": "\x1b[2J", "weights": "\x9b"}))
    code, shown = call_in_terminal("info", tmp_path / "m")
    assert code == 0 and harmless(shown)
    assert f"characters: {visible(vocab.characters[:24])}" in " ".join(shown.split())
    about = json.loads(call_in_terminal("info", tmp_path / "m", "--json")[1])
    assert about["symbols"] == vocab.characters


def test_bytes_that_are_not_utf8_are_escaped_on_a_terminal(byte_run):
    code, shown = call_in_terminal("sample", "-r", byte_run, "--length", 301, "--seed", 3)
    assert code == 0 and harmless(shown)
    assert "\\udc" in shown and "\ufffd" not in shown


@pytest.mark.parametrize("command", ["train", "sample"])
def test_a_closed_terminal_ends_a_command_and_training_is_saved(
    command, trained, text_file, tmp_path
):
    ours, theirs = pty.openpty()
    folder = tmp_path / "run"
    arguments = {
        "train": [str(text_file), "-r", str(folder), "--steps", "100000", "--hidden", "16"],
        "sample": ["-r", str(trained), "--length", "0"],
    }
    process = subprocess.Popen(
        [*COMMAND, command, *arguments[command]],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while len(shown) < 900 and b"step " not in shown:
        shown += os.read(ours, 65_536)
    os.close(ours)  # the system sends SIGHUP, and standard output and error are gone
    assert process.wait(60) == 129
    if command == "train":
        assert events_of(folder)[-1]["reason"] == "SIGHUP"
        assert load_checkpoint(folder / "last.safetensors").summary["step"] > 0
