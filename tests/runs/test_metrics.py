"""metrics.jsonl: complete lines after torn ones, failed writes, and the format number."""

import json
import os
import resource

import pytest

from charlstm import CharlstmError
from charlstm.runs.metrics import FORMAT, Metrics, last_event, remove_events_after, require_format

EVENTS = [{"event": "train", "step": step, "train_loss": 1 / (step + 1)} for step in range(6)]


@pytest.fixture
def metrics(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for event in EVENTS:
        Metrics(path).append(event)
    return path


def lines_of(path):
    return path.read_bytes().splitlines()


def test_each_line_is_an_event_in_json(metrics):
    Metrics(metrics).flush()
    assert [json.loads(line) for line in lines_of(metrics)] == EVENTS
    assert last_event(metrics) == EVENTS[-1]


@pytest.mark.parametrize("left", [1, 9, 30])
def test_an_event_after_a_torn_line_gets_a_line_of_its_own(metrics, left):
    torn = lines_of(metrics)[-1][:left]
    os.truncate(metrics, metrics.stat().st_size - len(lines_of(metrics)[-1]) - 1 + left)
    Metrics(metrics).append({"event": "stop", "step": 6})
    assert lines_of(metrics)[-2:] == [torn, b'{"event": "stop", "step": 6}']
    assert last_event(metrics) == {"event": "stop", "step": 6}
    Metrics(metrics).append({"event": "start", "step": 6})
    assert len(lines_of(metrics)) == 8


def test_an_event_that_lost_only_its_line_end_counts(metrics):
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
def test_events_of_later_steps_and_a_torn_end_are_removed(metrics, step, torn):
    before = lines_of(metrics)
    with metrics.open("ab") as file:
        file.write(torn)
    remove_events_after(metrics, step)
    assert lines_of(metrics) == before[: step + 1]


def test_a_line_longer_than_any_event_is_skipped_and_not_read_at_once(metrics, monkeypatch):
    monkeypatch.setattr("charlstm.runs.metrics.MAX_LINE_BYTES", 100)
    before = lines_of(metrics)
    with metrics.open("ab") as file:
        file.write(b'{"event": "' + b"x" * 1_000 + b'", "step": 0}\n{"event": "stop", "step": 6}\n')
    assert last_event(metrics) == {"event": "stop", "step": 6}
    remove_events_after(metrics, 5)
    assert lines_of(metrics)[: len(before)] == before


def test_a_missing_file_is_not_made_by_a_flush_or_a_removal(tmp_path):
    remove_events_after(tmp_path / "none", 3)
    Metrics(tmp_path / "none").flush()
    assert last_event(tmp_path / "none") == {}
    assert list(tmp_path.iterdir()) == []


def test_events_that_cannot_be_written_are_written_later(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.mkdir()
    metrics = Metrics(path)
    for event in EVENTS[:4]:
        metrics.append(event)
        assert "metrics.jsonl: cannot write" in metrics.problem
        assert metrics.problem.endswith(" bytes: Is a directory")
    with pytest.raises(CharlstmError, match="is not a regular file"):
        metrics.remove_after(1)
    assert metrics.waiting == EVENTS[:2]
    path.rmdir()
    metrics.append(EVENTS[2])
    assert (metrics.waiting, metrics.problem) == ([], "")
    assert [json.loads(line) for line in lines_of(path)] == EVENTS[:3]


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(metrics):
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


def test_the_format_of_the_first_event_is_required(tmp_path):
    path = tmp_path / "metrics.jsonl"
    require_format(path)  # a run may have lost its metrics
    for entry, found in (({"format": 0}, "0"), ({"format": "1"}, "'1'"), ({}, "'none'")):
        path.write_text(json.dumps({"event": "start", "step": 0, **entry}) + "\n")
        with pytest.raises(CharlstmError) as caught:
            require_format(path)
        assert str(caught.value) == (
            f"{path}: format {found}, this program reads format 1: move the file away to go on "
            "without its events"
        )
    assert FORMAT == 1
    path.write_text('{"event": "st\n{"event": "start", "step": 0, "format": 1}\n')
    require_format(path)


def test_metrics_whose_first_line_is_damaged_are_accepted(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('null\n"event": "start"}\n{"event": "train", "step": 1}\n')
    require_format(path)


def test_a_file_that_is_not_regular_is_neither_read_nor_written(tmp_path):
    """A run from a stranger may link to a file of the user's, or hold a pipe, which never ends."""
    mine = tmp_path / "mine.txt"
    mine.write_text("mine\n")
    make = {"link": lambda p: p.symlink_to(mine), "nowhere": lambda p: p.symlink_to("x"),
            "pipe": os.mkfifo, "folder": os.mkdir}  # fmt: skip
    for kind, made in make.items():
        path = tmp_path / kind
        made(path)
        for function in (last_event, require_format, lambda p: remove_events_after(p, 3)):
            with pytest.raises(CharlstmError, match=f"{kind} is not a regular file: move it away"):
                function(path)
    assert mine.read_text() == "mine\n"
