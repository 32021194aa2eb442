"""A small run for tests, and comparisons of runs by their checkpoints and metrics."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors.numpy import load_file

import charlstm
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.runs.checkpoint import load_checkpoint

# A run that takes a fraction of a second and is hard to resume: dropout, averaged weights, several
# passes, two workers, a schedule that depends on the evaluations.
SMALL = {
    "hidden": 16,
    "layers": 2,
    "ngrams": 3,
    "ngram_slots": 60,
    "ngram_lr": 0.02,
    "batch_size": 16,
    "seq_length": 12,
    "dropout": 0.2,
    "dropout_between": 0.1,
    "average": 0.9,
    "weight_dropout": 0.1,
    "lr": 0.005,
    "steps": 60,
    "eval_every": 10,
    "schedule": "plateau",
    "patience": 1,
    "workers": 2,
    "seed": 3,
}

# One whose steps take long enough to be killed in.
LONG_STEPS = SMALL | {"hidden": 64, "batch_size": 24, "seq_length": 48}

BEST, LAST, GOOD = "best.safetensors", "last.safetensors", "good.safetensors"


def alternating(names, first, second, slow=()):
    """Parametrise a test by two lists: each value of the first with one value of the second.

    The values of the second list take turns. The other pairs are parameters of slow tests, and so
    are those with a value of `slow`.
    """
    is_slow = {True: pytest.mark.slow, False: ()}
    pairs = [
        pytest.param(value, other, marks=is_slow[k % len(second) != n or value in slow])
        for k, value in enumerate(first)
        for n, other in enumerate(second)
    ]
    return pytest.mark.parametrize(names, pairs)


def command_options(**settings):
    """The settings as options of the command line, such as ["--hidden", 16]."""
    return [x for name, value in settings.items() for x in (f"--{name.replace('_', '-')}", value)]


def arrays_of(path):
    """The type and bytes of each array of a checkpoint: weights, moments, states."""
    return {name: (array.dtype, array.tobytes()) for name, array in load_file(path).items()}


def weights_of(path):
    """The bytes of all weights of a checkpoint's model."""
    return b"".join(array.tobytes() for array in load_checkpoint(path).model.parameters.values())


def average_of(path):
    """The bytes of the averaged weights in a `last`, and of the table of n-grams, which they share.

    These are the bytes of `best` if the average is better than the last weights.
    """
    saved = load_checkpoint(path)
    return saved.arrays["average"].tobytes() + saved.model.parameters[NGRAM_TABLE].tobytes()


def events_of(folder, *kinds):
    """The events in the metrics of a run, all or those of some kinds."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    events = [json.loads(line) for line in text.splitlines()]
    return [event for event in events if not kinds or event["event"] in kinds]


def measurements(folder):
    """The events `train` and `eval` without the entries that depend on the clock."""
    untimed = ("seconds", "characters_per_second")
    return [
        {name: value for name, value in event.items() if name not in untimed}
        for event in events_of(folder, "train", "eval")
    ]


def contents(folder):
    """The bytes of each file in a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def copy_of(folder, target):
    """Copy a folder, and return the copy."""
    return Path(shutil.copytree(folder, target))


class CopiedRun(NamedTuple):
    """A finished run.

    copies: copies of its folder from each moment at which `last` was saved, by step.
    """

    folder: Path
    copies: dict[int, Path]


def train_with_copies(text, root, **options):
    """Train SMALL, with changed options, in a folder of `root`; return the CopiedRun."""
    folder, copies = root / "run", {}

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST:
            copies[event["step"]] = copy_of(folder, root / f"copy-{event['step']}")

    charlstm.train(text, folder, observer=observe, **{**SMALL, **options})
    return CopiedRun(folder, copies)


def assert_equal_runs(folder, expected):
    """The folder holds a finished run that is equal, bit for bit, to the one of another folder."""
    for name in (BEST, LAST):
        assert arrays_of(folder / name) == arrays_of(expected / name), name
    assert measurements(folder) == measurements(expected)
    last = events_of(folder)[-1]
    assert (last["event"], last["reason"]) == ("stop", "finished")
    assert last["best_val_loss"] == events_of(expected)[-1]["best_val_loss"]
    names = {path.name for path in folder.iterdir()}
    assert names - {"report.html"} == {BEST, LAST, "metrics.jsonl"}


class Killed(BaseException):
    """Stands for the end of the process: a run cannot handle it."""
