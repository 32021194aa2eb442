"""Runs that the tests of several commands share. Not to be written to."""

from pathlib import Path

import pytest
from corpus_files import make_text

import charlstm

NAMES = ["anna", "bert", "carla", "dora", "emil", "grüße", "köln"]


@pytest.fixture(scope="session")
def word_run(tmp_path_factory) -> Path:
    """The folder of a short run at level word, on make_text(80)."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "t.txt").write_text(make_text(80), encoding="utf-8")
    small = {"hidden": 4, "steps": 2, "batch_size": 2, "seq_length": 8, "workers": 1}
    return charlstm.train(folder / "t.txt", folder / "run", level="word", **small).path


@pytest.fixture(scope="session")
def line_run(tmp_path_factory) -> Path:
    """The folder of a run with --lines that has learnt to write the NAMES."""
    folder = tmp_path_factory.mktemp("lines")
    (folder / "names.txt").write_text("\n".join(NAMES * 200), encoding="utf-8")
    options = {"lines": True, "val_split": "end", "steps": 300, "hidden": 16, "workers": 1}
    return charlstm.train(folder / "names.txt", folder / "run", **options).path


@pytest.fixture
def names() -> list[str]:
    """The lines of the text of line_run."""
    return NAMES
