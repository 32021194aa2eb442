"""What tests compare of runs: the arrays of their checkpoints and what their metrics measured."""

import json
import shutil

from safetensors.numpy import load_file

import charlstm
from charlstm.network.parameters import NGRAM_TABLE
from charlstm.runs.checkpoint import load_checkpoint

# A run that takes a fraction of a second, and all that makes resumption hard: dropout, averaged
# weights, several passes, two workers, a schedule that depends on the evaluations.
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

BEST, LAST = "best.safetensors", "last.safetensors"


def arrays_of(path):
    """Name -> bytes, of weights, optimizer moments and recurrent state."""
    return {name: (array.dtype, array.tobytes()) for name, array in load_file(path).items()}


def weights_of(path):
    return b"".join(array.tobytes() for array in load_checkpoint(path).model.parameters.values())


def average_of(path):
    """What `best` holds if the average is better: it shares the table of n-grams."""
    saved = load_checkpoint(path)
    return saved.arrays["average"].tobytes() + saved.model.parameters[NGRAM_TABLE].tobytes()


def events_of(folder):
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def history(folder):
    """All that is measured, without the clock and without saves, starts and stops."""
    untimed = ("seconds", "characters_per_second")
    return [
        {name: value for name, value in event.items() if name not in untimed}
        for event in events_of(folder)
        if event["event"] in ("train", "eval")
    ]


def copied_at_each_save(text, root, **options):
    """The folder of a run, and copies of it at each save of `last`, by step."""
    folder, copies = root / "run", {}

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST:
            copies[event["step"]] = root / f"copy-{event['step']}"
            shutil.copytree(folder, copies[event["step"]])

    charlstm.train(text, folder, observer=observe, **{**SMALL, **options})
    return folder, copies


def assert_as_whole(folder, whole):
    expected, _ = whole
    for name in (BEST, LAST):
        assert arrays_of(folder / name) == arrays_of(expected / name), name
    assert history(folder) == history(expected)
    last = events_of(folder)[-1]
    assert (last["event"], last["reason"]) == ("stop", "finished")
    assert last["best_val_loss"] == events_of(expected)[-1]["best_val_loss"]
    names = {BEST, LAST, "metrics.jsonl"}
    assert {path.name for path in folder.iterdir()} == names


class Killed(BaseException):
    """The process ends here, for all that the run can do about it."""
