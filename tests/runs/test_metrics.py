"""metrics.jsonl: lines that are whole, whatever happened to the one before."""

import json
import os
import resource

import pytest

from charlstm import CharlstmError
from charlstm.runs.metrics import Metrics, last_event, remove_events_after

EVENTS = [{"event": "train", "step": step, "train_loss": 1 / (step + 1)} for step in range(6)]


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for event in EVENTS:
        Metrics(path).append(event)
    return path


def lines_of(path):
    return path.read_bytes().splitlines()


def test_events_are_one_json_object_a_line(metrics):
    Metrics(metrics).flush()
    assert [json.loads(line) for line in lines_of(metrics)] == EVENTS
    assert last_event(metrics) == EVENTS[-1]


@pytest.mark.parametrize("left", [1, 9, 30])
def test_an_event_after_a_torn_line_stays_whole(metrics, left):
    torn = lines_of(metrics)[-1][:left]
    os.truncate(metrics, metrics.stat().st_size - len(lines_of(metrics)[-1]) - 1 + left)
    Metrics(metrics).append({"event": "stop", "step": 6})
    assert lines_of(metrics)[-2:] == [torn, b'{"event": "stop", "step": 6}']
    assert last_event(metrics) == {"event": "stop", "step": 6}
    Metrics(metrics).append({"event": "start", "step": 6})
    assert len(lines_of(metrics)) == 8


def test_an_event_whose_line_end_alone_is_lost_counts(metrics):
    os.truncate(metrics, metrics.stat().st_size - 1)
    remove_events_after(metrics, 5)
    Metrics(metrics).append({"event": "stop", "step": 6})
    assert [json.loads(line) for line in lines_of(metrics)] == [
        *EVENTS,
        {"event": "stop", "step": 6},
    ]


@pytest.mark.parametrize("step", range(-1, 7))
@pytest.mark.parametrize(
    "torn", [b"", b'{"event": "tr', b"\x00\x00\x00", b"[1]\n", b'{"step": []}\n']
)
def test_events_of_later_steps_and_a_torn_end_are_cut_off(metrics, step, torn):
    whole = lines_of(metrics)
    with metrics.open("ab") as file:
        file.write(torn)
    remove_events_after(metrics, step)
    assert lines_of(metrics) == whole[: step + 1]


def test_a_line_longer_than_any_event_is_none_and_not_read_at_once(metrics, monkeypatch):
    monkeypatch.setattr("charlstm.runs.metrics.MAX_LINE_BYTES", 100)
    whole = lines_of(metrics)
    with metrics.open("ab") as file:
        file.write(b'{"event": "' + b"x" * 1_000 + b'", "step": 0}\n{"event": "stop", "step": 6}\n')
    assert last_event(metrics) == {"event": "stop", "step": 6}
    remove_events_after(metrics, 5)
    assert lines_of(metrics)[: len(whole)] == whole


def test_without_a_file_there_is_nothing_to_forget(tmp_path):
    remove_events_after(tmp_path / "none", 3)
    Metrics(tmp_path / "none").flush()
    assert last_event(tmp_path / "none") == {}
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_now_is_written_later(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    metrics = Metrics(path)
    for event in EVENTS[:4]:
        metrics.append(event)
        assert "metrics.jsonl: cannot write" in metrics.problem
        assert metrics.problem.endswith(" bytes: Is a directory")
    with pytest.raises(CharlstmError, match="cannot be read: Is a directory"):
        metrics.remove_after(1)
    assert metrics.waiting == EVENTS[:2]
    path.rmdir()
    metrics.append(EVENTS[2])
    assert (metrics.waiting, metrics.problem) == ([], "")
    assert [json.loads(line) for line in lines_of(path)] == EVENTS[:3]


def test_a_line_that_fits_only_in_part_leaves_the_file_as_it_was(metrics):
    before, metrics = metrics.read_bytes(), Metrics(metrics)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
    try:
        metrics.append({"event": "train", "step": 6, "train_loss": 0.25})
        assert metrics.path.read_bytes() == before
        assert metrics.problem.endswith("cannot write 50 bytes: File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    metrics.flush()
    line = b'{"event": "train", "step": 6, "train_loss": 0.25}'
    assert metrics.path.read_bytes() == before + line + b"\n"
