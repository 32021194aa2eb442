"""Runs that the tests of this folder share. Their folders are not to be written to."""

import numpy as np
import pytest
from corpus_files import make_text
from run_files import CopiedRun, events_of, train_with_copies

from charlstm.runs import start


@pytest.fixture
def given_speed(monkeypatch):
    """Let runs with a time budget assume the speed of the machine, which takes time to measure."""
    monkeypatch.setattr(start, "operations_per_second", lambda model, config, engine: 1e10)


@pytest.fixture(scope="session")
def overfitting_text(tmp_path_factory):
    """A text with nonsense as its validation part: the validation loss falls, then rises."""
    text = make_text(110)
    nonsense = np.random.default_rng(0).permutation(list(text))[: len(text) // 9]
    path = tmp_path_factory.mktemp("text") / "small.txt"
    path.write_text(text + "".join(nonsense))
    return path


@pytest.fixture(scope="session")
def uninterrupted(overfitting_text, tmp_path_factory) -> CopiedRun:
    """A run of SMALL without interruption, and copies of its folder at each save of `last`."""
    run = train_with_copies(overfitting_text, tmp_path_factory.mktemp("uninterrupted"))
    stop = events_of(run.folder)[-1]
    assert (stop["reason"], stop["step"], stop["warnings"]) == ("finished", 60, [])
    return run
