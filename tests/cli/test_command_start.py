"""The moment from which --minutes counts."""

import time

import charlstm
from charlstm.cli import command_start
from charlstm.runs.result import TrainedRun


def test_the_start_of_the_process_counts_for_its_first_command_only(
    cli, text_file, tmp_path, monkeypatch
):
    started = []

    def train(*arguments, **options):
        started.append(options["started"])
        return TrainedRun(tmp_path, None, 1, "finished", ())

    monkeypatch.setattr(charlstm, "train", train)
    process_start = time.monotonic() - 1_000
    monkeypatch.setattr(command_start, "_starts", {"process": process_start})
    for _ in range(2):
        called = time.monotonic()
        cli("train", text_file, "--quiet")
    assert started[0] == process_start and called <= started[1] <= time.monotonic()
    monkeypatch.setattr(command_start, "_starts", {"process": process_start})
    cli("--version")
    called = time.monotonic()
    cli("train", text_file, "--quiet")
    assert started[2] >= called
