"""Models that commands load: which weights they are, if the best are missing."""

import shutil

import pytest
from run_files import BEST, LAST

COMMANDS = {
    "sample": ["sample", "--length", 5],
    "eval": ["eval", "TEXT"],
    "score": ["score", "TEXT"],
    "gates": ["inspect", "gates", "--text", "the", "--output", "PAGE"],
    "gradients": ["inspect", "gradients", "--lags", 5],
}


@pytest.mark.parametrize("name", [*COMMANDS, "train"])
def test_a_note_says_that_the_latest_weights_are_read_if_the_best_are_missing(
    cli, trained, tmp_path, name
):
    run = shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "text").write_text("the cat\nthe dog\n" * 5)
    places = {"TEXT": tmp_path / "text", "PAGE": tmp_path / "page"}
    if name == "train":
        own = ["-r", tmp_path / "new", "--steps", 1]
        arguments = ["train", tmp_path / "text", "--overwrite", *own, "--init-from", run]
    else:
        arguments = [places.get(each, each) for each in COMMANDS[name]] + ["-r", run]
    assert "note: " + str(run) not in cli(*arguments).stderr
    (run / BEST).unlink()
    line = (
        f"note: {run} has no {BEST}: the model is read from {LAST}, which has the latest weights, "
        "not those "
    )
    assert cli(*arguments).stderr.count(line) == 1
