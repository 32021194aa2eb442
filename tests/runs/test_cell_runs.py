"""Each kind of cell from the command line: train, resume bit for bit, sample, score, evaluate."""

import json
import shutil
from collections import Counter

import numpy as np
import pytest

from charlstm import load, train
from charlstm.network.scoring import evaluate
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.folder import LAST


@pytest.mark.parametrize(
    ("cell", "capped", "skip"),
    [
        ("lstm", False, False),
        ("lstm", True, False),
        ("lstm", True, True),
        ("gru", False, False),
        ("rnn", False, False),
    ],
)
def test_a_run_of_each_cell(cell, capped, skip, text_file, tmp_path, cli):
    folder = tmp_path / cell
    options = {
        "hidden": 20,
        "layers": 2,
        "batch_size": 8,
        "seq_length": 20,
        "lr": 0.02,
        "dropout": 0.1,
    }
    options |= {
        "cell": cell,
        "capped": capped,
        "skip": skip,
        "steps": 120,
        "eval_every": 40,
        "seed": 4,
    }
    run = train(text_file, folder, **options)
    counts = np.array(list(Counter(text_file.read_text(encoding="utf-8")).values()))
    frequencies = counts / counts.sum()
    by_frequency = -float((frequencies * np.log(frequencies)).sum())
    assert run.best_val_loss < 0.6 * by_frequency

    # the same run, as it was after 80 steps, resumed
    half = tmp_path / "half"
    train(text_file, half, observer=_copying(half, tmp_path / "copy", at=80), **options)
    resumed = train(run=tmp_path / "copy", resume=True)
    assert resumed.steps == 120
    whole, again = (load_checkpoint(path / LAST) for path in (folder, tmp_path / "copy"))
    assert (again.model.parameters.vector == whole.model.parameters.vector).all()
    assert all((again.arrays[name] == array).all() for name, array in whole.arrays.items())

    model = load(folder)
    config = model.config
    assert (config.cell, config.capped, config.skip) == (cell, capped, skip)
    text = cli("sample", "-r", folder, "--length", 50, "--seed", 3).stdout
    assert text == model.sample(50, seed=3) + "\n"
    scored = json.loads(cli("score", "-r", folder, "-", input="the cat\n").stdout)
    assert scored["nats"] == pytest.approx(float(np.sum(model.score("the cat").nats)), rel=1e-6)
    measured = json.loads(cli("eval", "-r", folder, text_file, "--json").stdout)
    one_lane = evaluate(model, model.vocab.encode(text_file.read_text()), batch_size=1)
    assert measured["nats_per_character"] == pytest.approx(one_lane.nats_per_character, abs=1e-3)


def _copying(folder, copy, at):
    """An observer that keeps the folder as it is when the run has saved at step `at`."""

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST and event["step"] == at:
            shutil.copytree(folder, copy)

    return observe
