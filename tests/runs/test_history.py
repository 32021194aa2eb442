"""The events of a run as tables: their checks, and how long tables are thinned."""

import json
import os
import socket

import pytest
from hostile import INJECTIONS, event, hostile_lines, write_run
from hypothesis import given
from hypothesis import strategies as st
from run_files import events_of

from charlstm.runs.history import file_name, read_history, sentence, state_of, thinned
from charlstm.runs.lock_holder import Holder

numbers = st.one_of(st.none(), st.integers(0, 40), st.floats(-1e9, 1e9))


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=300), st.integers(1, 60))
def test_a_thinned_table_keeps_its_order_its_ends_and_its_extrema(rows, most):
    table = {
        "step": list(range(len(rows))),
        "seconds": [0.5 * k for k in range(len(rows))],
        "one": [row[0] for row in rows],
        "other": [row[1] for row in rows],
    }
    kept = thinned(table, most)
    assert len(kept["step"]) <= max(len(rows) if len(rows) <= most else 0, most, 6)
    assert kept["step"] == sorted(set(kept["step"]))
    assert (kept["step"][0], kept["step"][-1]) == (0, len(rows) - 1)
    for name in ("one", "other"):
        assert kept[name] == [table[name][k] for k in kept["step"]]
        known = [x for x in table[name] if x is not None]
        if known:
            shown = [x for x in kept[name] if x is not None]
            assert (min(shown), max(shown)) == (min(known), max(known))


def test_the_history_of_a_run_is_that_of_its_events(uninterrupted):
    folder = uninterrupted.folder
    history = read_history(folder)
    trained, evaluated = events_of(folder, "train"), events_of(folder, "eval")
    assert history.train["step"] == [e["step"] for e in trained]
    assert history.train["gradient_norm"] == [e["gradient_norm"] for e in trained]
    assert history.evaluations["val_loss"] == [e["val_loss"] for e in evaluated]
    assert history.evaluations["averaged"] == [e["weights"] == "average" for e in evaluated]
    assert [step for step, _ in history.samples] == [10, 20, 30, 40, 50, 60]
    assert history.best_val_loss == min(e["val_loss"] for e in evaluated)
    assert history.evaluations["step"][history.best] == events_of(folder, "stop")[0]["best_step"]
    assert (history.steps, history.seconds) == (60, evaluated[-1]["seconds"])
    assert history.given["patience"] == 1 and history.given["paths"] == ["small.txt"]
    assert state_of(folder, history) == "finished"


def test_a_resumed_run_keeps_its_first_settings_and_has_a_new_state(tmp_path):
    lines = [
        event("start", 0, given={"seed": 3}, notices=["first"], total_steps=4),
        event("eval", 2, val_loss=1.0),
        event("stop", 2, reason="SIGINT"),
    ]
    assert state_of(tmp_path, read_history(write_run(tmp_path, lines))) == "interrupted"
    lines += [event("start", 2, resumed=True, notices=[], total_steps=6)]
    history = read_history(write_run(tmp_path, lines))
    assert (history.given, history.resumptions, history.stop) == ({"seed": 3}, [2], {})
    assert history.start["total_steps"] == 6 and history.notices == ["first"]
    for reason in ("finished", "stopped early"):
        history = read_history(write_run(tmp_path, [*lines, event("stop", 6, reason=reason)]))
        assert state_of(tmp_path, history) == "finished"
    holder = Holder(os.getpid(), "another-" + socket.gethostname(), "", None)
    (tmp_path / "lock").write_text(json.dumps(holder._asdict()))
    assert state_of(tmp_path, history) == "running"


@pytest.mark.parametrize("text", INJECTIONS)
def test_hostile_entries_are_left_out(text, tmp_path):
    history = read_history(write_run(tmp_path, hostile_lines(text)))
    assert history.train == {
        "step": [1, 2], "seconds": [0.1, 0.2], "train_loss": [None, 2.5],
        "learning_rate": [None, 0.1], "gradient_norm": [None, None],
        "characters_per_second": [None, None],
    }  # fmt: skip
    assert history.evaluations["val_loss"] == [2.25, None]
    assert history.samples == [(3, text[:2000])]
    assert all(line.isprintable() for line in history.notices)
    assert state_of(tmp_path, history) == "interrupted"


def test_sentences_that_name_paths_are_left_out_and_files_lose_their_folders():
    assert sentence("cannot write /home/ada/runs/a/metrics.jsonl: full") == ""
    assert sentence("C:\\Users\\ada is full") == sentence(3) == ""
    assert sentence("the rate is low:\n`lr=0.1`") == "the rate is low:\\n`lr=0.1`"
    assert file_name("/home/ada/a.txt") == file_name("C:\\Users\\ada\\a.txt") == "a.txt"
