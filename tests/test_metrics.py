"""metrics.jsonl: lines that are whole, whatever happened to the one before."""

import json
import os

import pytest

from charlstm import CharlstmError
from charlstm.metrics import append_event, flush_events, forget_events_after, last_event

EVENTS = [{"event": "train", "step": step, "train_loss": 1 / (step + 1)} for step in range(6)]


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for event in EVENTS:
        append_event(path, event)
    return path


def lines_of(path):
    return path.read_bytes().splitlines()


def test_events_are_one_json_object_a_line(metrics):
    flush_events(metrics)
    assert [json.loads(line) for line in lines_of(metrics)] == EVENTS
    assert last_event(metrics) == EVENTS[-1]


@pytest.mark.parametrize("left", [1, 9, 30])
def test_an_event_after_a_torn_line_stays_whole(metrics, left):
    torn = lines_of(metrics)[-1][:left]
    os.truncate(metrics, metrics.stat().st_size - len(lines_of(metrics)[-1]) - 1 + left)
    append_event(metrics, {"event": "stop", "step": 6})
    assert lines_of(metrics)[-2:] == [torn, b'{"event": "stop", "step": 6}']
    assert last_event(metrics) == {"event": "stop", "step": 6}
    append_event(metrics, {"event": "start", "step": 6})
    assert len(lines_of(metrics)) == 8


def test_an_event_whose_line_end_alone_is_lost_counts(metrics):
    os.truncate(metrics, metrics.stat().st_size - 1)
    forget_events_after(metrics, 5)
    append_event(metrics, {"event": "stop", "step": 6})
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
    forget_events_after(metrics, step)
    assert lines_of(metrics) == whole[: step + 1]


def test_without_a_file_there_is_nothing_to_forget(tmp_path):
    forget_events_after(tmp_path / "none", 3)
    flush_events(tmp_path / "none")
    assert last_event(tmp_path / "none") == {}
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(CharlstmError, match="cannot be written: Is a directory"):
        append_event(tmp_path, EVENTS[0])
