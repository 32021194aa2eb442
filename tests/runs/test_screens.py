"""The screens of a training at several widths, in colour and without, and its log in a file.

A display gets events that are written here, with a clock that is moved here: what it shows does not
depend on the machine. `python tests/runs/test_screens.py` writes the expected screens anew.
"""

import io
import sys
import warnings
from pathlib import Path

import pytest
from screens import Terminal

from charlstm.cli.train import in_options
from charlstm.config import ModelConfig, TrainConfig
from charlstm.runs.progress_bar import FittedBar
from charlstm.runs.progress_display import CorpusDisplay, RunDisplay

FOLDER = Path(__file__).with_name("screens")
COLUMNS = (40, 60, 80, 120)
MODEL = ModelConfig(hidden=256, layers=1, ngrams=6, capped=True)
TRAIN = TrainConfig(
    batch_size=24, seq_length=64, lr=0.02, average=0.998, workers=2, precision="float32"
)
START = {
    "event": "start", "step": 0, "run": "runs/play", "resumed": False, "finished": False,
    "characters": 1_026_489, "unit": "character", "vocabulary": 61, "train_characters": 923_840,
    "validation_characters": 102_649, "parameters": 8_687_421, "total_steps": None,
    "engine": "native", "reason": "",
    "kernels": "native kernels (avx2)", "precision": "float32", "notices": [], "origin": None,
    "report": True,
    "mix_characters": 0,
    "model": MODEL.to_dict(), "config": {**TRAIN.to_dict(), "minutes": 3.0},
}  # fmt: skip
SAMPLE = (
    "ANNA: the night is a long one and nobody\x1b[2J knows whether it will ever end.\n\n"
    "BERT: So it is."
)


class Play:
    """Passes events to a display, and keeps the screens that it shows."""

    def __init__(self, stream, monkeypatch, verbose=False):
        self.now, self.screens, self.stream = 0.0, {}, stream
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr("tqdm.std.time", lambda: self.now)
        self.display = RunDisplay(verbose, in_options, clock=lambda: self.now)

    def show(self, **event):
        self.display(event)

    def keep(self, name):
        self.screens[name] = getattr(self.stream, "lines", [])

    def steps(self, first, last, total, seconds=0.04):
        for step in range(first, last + 1):
            self.now += seconds
            self.show(
                event="step",
                step=step,
                train_loss=1.2 + 2 / step,
                total_steps=total,
                characters=1536,
            )

    def evaluation(self, step, val_loss, best, weights="average"):
        self.now += 3
        self.show(event="eval", step=step, train_loss=val_loss - 0.1, val_loss=val_loss,
                  weights=weights, is_best=best, mix_val_loss=None)  # fmt: skip

    def training(self):
        """From the start of a training to its end."""
        self.show(**START)
        self.keep("start")
        self.steps(1, 30, None)
        self.show(event="plan", step=30, total_steps=4312, epochs=7.17, seconds=168.0)
        self.steps(31, 400, 4312)
        self.keep("running")
        self.evaluation(400, 1.6512, best=True)
        self.show(event="sample", text=SAMPLE)
        self.steps(401, 800, 4287)
        self.evaluation(800, 1.6634, best=False)
        problem = "runs/play/metrics.jsonl: cannot write 80 bytes: No space left on device"
        self.show(event="notice", step=800, text=f"{problem}; training goes on")
        self.steps(801, 4290, 4290)
        self.evaluation(4290, 1.3011, best=True, weights="last")
        self.show(event="stop", step=4290, reason="stopped early", best_step=400,
                  warnings=["the model overfits since step 400: try `dropout=0.2`"])  # fmt: skip
        self.display.close()
        self.keep("end")

    def other_ends(self):
        """A run that is resumed and interrupted, and one that has finished already."""
        self.show(**START | {"step": 400, "resumed": True})
        self.steps(401, 401, 4290)
        self.keep("resumed")
        self.show(event="stop", step=401, reason="SIGINT", best_step=400, warnings=[])
        self.display.close()
        self.keep("interrupted")
        finished = {"step": 4290, "finished": True, "resumed": True, "total_steps": 4290}
        self.show(**START | finished)
        self.keep("finished already")


def played(columns, monkeypatch, verbose=False):
    """The screens of a terminal of this width, by name."""
    monkeypatch.setenv("COLUMNS", str(columns))
    play = Play(Terminal(columns), monkeypatch, verbose)
    play.training()
    ends = Play(Terminal(columns), monkeypatch, verbose)
    ends.other_ends()
    return play.screens | ends.screens, play.stream.written + ends.stream.written


def in_one_text(screens):
    return "".join(
        f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in screens.items()
    )


def text_of(name, monkeypatch):
    """The expected text of a file: of a terminal's screens, or of a log."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    if name == "log":
        log = io.StringIO()
        Play(log, monkeypatch).training()
        return log.getvalue()
    columns = int(name.removeprefix("verbose-"))
    return in_one_text(played(columns, monkeypatch, verbose=name.startswith("verbose-"))[0])


NAMES = [*map(str, COLUMNS), "verbose-80", "log"]


@pytest.mark.parametrize("name", NAMES)
def test_screens_are_as_expected(monkeypatch, name):
    assert text_of(name, monkeypatch) == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", COLUMNS)
def test_no_word_is_broken_and_no_field_is_cut(monkeypatch, columns):
    screens, _ = played(columns, monkeypatch)
    widest, _ = played(400, monkeypatch)
    for name, lines in screens.items():
        shown = " ".join(lines).replace("*", "").replace("~", "").split()
        expected = " ".join(widest[name]).replace("*", "").replace("~", "").split()
        bar = name in ("start", "running", "resumed")
        assert set(shown) <= set(expected) if bar else shown == expected, name


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_without_colour_the_screens_are_the_same(monkeypatch, variable, value):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    in_colour, written = played(80, monkeypatch)
    assert "\x1b[1m" in written and "\x1b[2m" in written
    monkeypatch.setenv(variable, value)
    plain, written = played(80, monkeypatch)
    assert "\x1b" not in written
    assert in_one_text(plain) == in_one_text(in_colour).replace("**", "").replace("~~", "")


def test_the_log_in_a_file_has_plain_lines_at_least_once_a_minute(monkeypatch):
    log = io.StringIO()
    play = Play(log, monkeypatch)
    play.training()
    text = log.getvalue()
    assert "\r" not in text and "\x1b" not in text and "█" not in text
    assert " 0 characters/s" not in text and "\\x1b[2J" in text
    on_progress = [line for line in text.split("\n") if "characters/s" in line]
    assert len(on_progress) == 2  # in the last 140 s, nothing else is written
    assert on_progress[0].startswith("53%  step ")


def test_a_log_has_no_bar_of_a_text_that_is_read(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    display = CorpusDisplay()
    display(10**9, 4 * 10**9, "reading")
    display.close()
    assert log.getvalue() == ""


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (90, "reading: 25%  ████░░░░░░░░░░░░  1.0 of 4.0 GB  6 s left"),
        (40, "reading: 25%  1.0 of 4.0 GB  6 s left"),
        (30, "reading: 25%  6 s left"),
        (20, "reading: 25%"),
    ],
)
def test_the_bar_of_a_text_that_is_read_drops_whole_fields(monkeypatch, columns, expected):
    now = [0.0]
    terminal = Terminal(columns)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    display = CorpusDisplay()
    display(0, 4 * 10**9, "reading")
    now[0] = 2.0
    display(10**9, 4 * 10**9, "reading")
    assert terminal.lines == [expected]
    display.close()
    assert terminal.lines == []


def test_a_bar_starts_no_thread(monkeypatch):
    """Where no thread can be started, tqdm would print a warning and a line of its code."""
    terminal = Terminal(80)
    monkeypatch.setattr(sys, "stderr", terminal)

    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", fail)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with FittedBar(9, "step", "measuring"):
            assert terminal.lines[0].startswith("measuring: 0%")


def write_expected():
    """Write the expected screens anew."""
    FOLDER.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            (FOLDER / f"{name}.txt").write_text(text_of(name, patch), encoding="utf-8")


if __name__ == "__main__":
    write_expected()
