"""Each kind of cell: train, resume bit for bit, and sample, score and evaluate by command."""

import json
from collections import Counter

import numpy as np
import pytest
from run_files import LAST, copy_of

from charlstm import load, train
from charlstm.network.scoring import evaluate
from charlstm.runs.checkpoint import load_checkpoint

SETTINGS = {
    "hidden": 20,
    "layers": 2,
    "batch_size": 8,
    "seq_length": 20,
    "lr": 0.02,
    "dropout": 0.1,
    "steps": 120,
    "eval_every": 40,
    "seed": 4,
    "workers": 1,
}


@pytest.mark.parametrize(
    ("cell", "capped", "skip"),
    [
        ("lstm", False, False),
        pytest.param("lstm", True, False, marks=pytest.mark.slow),
        ("lstm", True, True),
        ("gru", False, False),
        ("rnn", False, False),
    ],
)
def test_a_run_of_each_cell(cell, capped, skip, text_file, tmp_path, cli):
    folder, copy = tmp_path / cell, tmp_path / "copy"

    def observe(event):
        if event["event"] == "save" and event["file"] == LAST and event["step"] == 80:
            copy_of(folder, copy)

    options = SETTINGS | {"cell": cell, "capped": capped, "skip": skip}
    run = train(text_file, folder, observer=observe, **options)
    counts = np.array(list(Counter(text_file.read_text(encoding="utf-8")).values()))
    frequencies = counts / counts.sum()
    entropy = -float((frequencies * np.log(frequencies)).sum())  # of the single characters
    assert run.best_val_loss < 0.6 * entropy

    assert train(run=copy, resume=True).steps == 120
    saved, resumed = (load_checkpoint(path / LAST) for path in (folder, copy))
    assert (resumed.model.parameters.vector == saved.model.parameters.vector).all()
    assert all((resumed.arrays[name] == array).all() for name, array in saved.arrays.items())

    model = load(folder)
    config = model.config
    assert (config.cell, config.capped, config.skip) == (cell, capped, skip)
    text = cli("sample", "-r", folder, "--length", 50, "--seed", 3).stdout
    assert text == model.sample(50, seed=3) + "\n"
    scored = json.loads(cli("score", "-r", folder, "-", input="the cat\n").stdout)
    assert scored["nats"] == pytest.approx(float(np.sum(model.score("the cat").nats)), rel=1e-6)
    measured = json.loads(cli("eval", "-r", folder, text_file, "--json").stdout)
    one_stream = evaluate(model, model.vocab.encode(text_file.read_text()), batch_size=1)
    assert measured["nats_per_character"] == pytest.approx(one_stream.nats_per_character, abs=1e-3)
