"""charlstm report, runs: pages, event files and lists of runs from the command line."""

import json
import os
import shutil
import struct
from pathlib import Path

import click
import pytest
from gate_pages import embedded
from hostile import event, write_run
from run_files import events_of

from charlstm.runs.event_files import NAME


def test_the_page_of_a_finished_run(cli, trained, tmp_path):
    result = cli("report", "-r", trained, "-o", tmp_path / "page.html")
    assert result.stdout == f"{tmp_path / 'page.html'}\n"
    size = (tmp_path / "page.html").stat().st_size
    assert result.stderr == f"1 run; {size / 1e3:.1f} kB\n"
    data = embedded((tmp_path / "page.html").read_text("utf-8"))
    evaluated = events_of(trained, "eval")
    assert data["live"] is False
    assert data["runs"][0]["best_val_loss"] == min(e["val_loss"] for e in evaluated)
    assert data["runs"][0]["text"]["unit"] == "character"
    assert "measured_step" not in data["runs"][0]
    again = cli("report", "-r", trained, "-o", tmp_path / "page.html").stderr
    assert again == f"1 run; {size / 1e3:.1f} kB; replaced the page of this name\n"


def test_several_runs_also_of_one_name_and_a_run_without_its_text(cli, trained, tmp_path):
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    (copy / "best.safetensors").write_bytes(b"damaged")
    page = tmp_path / "page.html"
    result = cli("report", "-r", trained, "-r", copy / "best.safetensors", "--output", page)
    assert "note: " in result.stderr and "the report shows no model" in result.stderr
    data = embedded(page.read_text("utf-8"))
    assert [run["name"] for run in data["runs"]] == ["run (1)", "run (2)"]
    assert data["repeats"] == [[0, 1]] and data["differing"] == []
    assert "text" in data["runs"][0] and "text" not in data["runs"][1]


def test_the_newest_run_is_the_default_and_the_page_is_opened(cli, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    opened = []
    monkeypatch.setattr(click, "launch", lambda address: opened.append(address) or 0)
    cli("report", "--open")
    assert opened == [(tmp_path / "report.html").as_uri()]
    (tmp_path / "report.html").write_text("mine")
    result = cli("report", code=1)
    assert "charlstm did not write it" in result.stderr and "--overwrite" in result.stderr
    monkeypatch.setattr(click, "launch", lambda address: 1)
    result = cli("report", "--open", "--overwrite", code=1)
    assert "no browser could be started" in result.stderr


def test_a_folder_without_a_run_is_refused_in_one_line(cli, tmp_path):
    result = cli("report", "-r", tmp_path, "-o", tmp_path / "page.html", code=1)
    assert result.stderr == f"charlstm: {tmp_path}: no events of a run (in metrics.jsonl) to show\n"
    result = cli("report", "-r", tmp_path, "--tensorboard", tmp_path / "board", code=1)
    assert "no events of a run" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_run_is_named(cli, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    error = cli("report", "-r", tmp_path / "notes.txt", "-o", tmp_path / "page.html", code=1).stderr
    assert f"{tmp_path / 'notes.txt'}: no events of a run" in error


def test_event_files_of_runs_of_one_name_are_not_written_over_each_other(cli, trained, tmp_path):
    shutil.copytree(trained, tmp_path / trained.name)
    both = ("-r", trained, "-r", tmp_path / trained.name)
    error = cli("report", *both, "--tensorboard", tmp_path / "board", code=1).stderr
    assert f"several runs are named {trained.name}" in error and "another DIR" in error
    assert not (tmp_path / "board").exists()


def records_of(path):
    """The records of an event file, each between its length, of 8 bytes, and checks of 4 bytes."""
    data = path.read_bytes()
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        yield data[12 : 12 + length]
        data = data[16 + length :]


def test_event_files_have_the_numbers_of_the_run_and_no_name_of_the_machine(cli, trained, tmp_path):
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    for _ in range(2):  # the second time replaces the first
        result = cli("report", "-r", trained, "--tensorboard", tmp_path / "board")
    path = tmp_path / "board" / "run" / NAME
    assert result.stdout == f"{path}\n" and list(path.parent.iterdir()) == [path]
    events = [event_pb2.Event.FromString(record) for record in records_of(path)]
    assert events[0].file_version == "brain.Event:2"
    found = {}
    for each in events:
        for value in each.summary.value:
            found.setdefault(value.tag, {})[each.step] = value
    for tag, kind, name in (
        ("loss/validation", "eval", "val_loss"),
        ("loss/training", "train", "train_loss"),
        ("training/learning rate", "train", "learning_rate"),
    ):
        numbers = {step: value.simple_value for step, value in found[tag].items()}
        assert numbers == pytest.approx({e["step"]: e[name] for e in events_of(trained, kind)})
    (sample,) = events_of(trained, "sample")[-1:]
    text = found["sample/text_summary"][sample["step"]].tensor.string_val[0].decode()
    assert text == "".join(f"    {line}\n" for line in sample["text"].split("\n"))
    times = [each.wall_time for each in events if each.step and "loss" in str(each.summary)]
    modified = (trained / "metrics.jsonl").stat().st_mtime
    assert modified - 60 < min(times) and max(times) == pytest.approx(modified, abs=0.01)


@pytest.fixture
def folder_of_runs(tmp_path):
    """Three runs: finished, interrupted after a divergence, and from a stranger."""
    start = {
        "model": {"cell": "gru", "layers": 2, "hidden": 64}, "parameters": 12_345,
        "corpus": {"paths": ["/home/ada/a.txt", "b.txt"]}, "unit": "character",
    }  # fmt: skip
    evaluated = [event("eval", 10, val_loss=2.0), event("eval", 20, val_loss=1.5)]
    write_run(tmp_path / "one", [event("start", 0, **start), *evaluated,
                                 event("stop", 20, reason="finished")])  # fmt: skip
    write_run(tmp_path / "two", [event("start", 0, **start), evaluated[0]])
    write_run(tmp_path / "three\x1b[2J", [event("start", 0, unit=3), event("train", 700_000)])
    (tmp_path / "notes").mkdir()
    for age, name in ((100, "two"), (200, "one"), (300, "three\x1b[2J")):
        path = tmp_path / name / "metrics.jsonl"
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age))
    return tmp_path


def test_runs_are_listed_the_newest_first(cli, folder_of_runs):
    lines = cli("runs", folder_of_runs).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "two", "one", "three\\x1b[2J"]
    assert lines[0].split() == ["name", "corpus", "model", "parameters", "steps", "best", "loss",
                                "trained", "age", "state"]  # fmt: skip
    cells = ["one", "a.txt,", "b.txt", "GRU,", "2", "layers", "of", "64", "units", "12,345", "20"]
    assert lines[2].split() == [*cells, "1.5000", "2", "s", "3", "min", "finished"]
    assert lines[3].split()[1:4] == ["-", "-", "-"] and lines[3].endswith(" 5 min  interrupted")
    assert len({line.rindex("  ") for line in lines}) == 1


def test_an_interrupted_run_has_the_steps_that_were_saved_last(cli, tmp_path):
    events = [event("start", 0), event("train", 270), event("save", 284)]
    for lines in (events, [*events[:2], event("stop", 284, reason="SIGINT")]):
        write_run(tmp_path / "run", lines)
        (run,) = json.loads(cli("runs", tmp_path, "--json").stdout)
        assert (run["steps"], run["state"]) == (284, "interrupted")


@pytest.mark.parametrize("name", ["lock", "metrics.jsonl"])
def test_a_pipe_in_a_strangers_run_is_not_read(cli, folder_of_runs, name):
    (folder_of_runs / "one" / name).unlink(missing_ok=True)
    os.mkfifo(folder_of_runs / "one" / name)
    listed = [run["name"] for run in json.loads(cli("runs", folder_of_runs, "--json").stdout)]
    assert {"one", "two"} <= set(listed)
    arguments = ("report", "-r", folder_of_runs / "one", "-o", folder_of_runs / "page.html")
    result = cli(*arguments, code=int(name != "lock"))
    assert ("is not a regular file" in result.stderr) == (name != "lock")


@pytest.mark.parametrize(
    ("options", "order"),
    [
        (["--sort", "name"], ["one", "three\x1b[2J", "two"]),
        (["--sort", "best-loss"], ["one", "two", "three\x1b[2J"]),
        (["--sort", "best-loss", "--reverse"], ["two", "one", "three\x1b[2J"]),
        (["--sort", "steps", "--reverse"], ["three\x1b[2J", "one", "two"]),
        (["--sort", "state"], ["one", "two", "three\x1b[2J"]),
    ],
)
def test_runs_are_sorted_by_any_column(cli, folder_of_runs, options, order):
    found = json.loads(cli("runs", folder_of_runs, "--json", *options).stdout)
    assert [run["name"] for run in found] == order


def test_a_run_whose_events_cannot_be_read_is_listed_with_the_others(cli, folder_of_runs):
    events = folder_of_runs / "one" / "metrics.jsonl"
    events.unlink()
    events.mkdir()
    problem = f"{events} is not a regular file: move it away to go on without its events"
    table = cli("runs", folder_of_runs)
    states = {line.split()[0]: line.split()[-1] for line in table.stdout.splitlines()[1:]}
    assert states == {
        "two": "interrupted", "one": "unreadable", "three\\x1b[2J": "interrupted",
    }  # fmt: skip
    assert table.stderr == f"note: {problem}\n"
    result = cli("runs", folder_of_runs, "--json")
    found = {run["name"]: run for run in json.loads(result.stdout)}
    assert result.stderr == table.stderr and found["two"]["steps"] == 10
    one = found["one"]
    assert (one["state"], one["steps"], one["problem"]) == ("unreadable", None, problem)


def test_the_list_as_json_has_numbers(cli, folder_of_runs):
    found = {run["name"]: run for run in json.loads(cli("runs", folder_of_runs, "--json").stdout)}
    age = found["one"].pop("age")
    assert 200 <= age < 400
    assert found["one"] == {
        "name": "one", "corpus": "a.txt, b.txt", "model": "GRU, 2 layers of 64 units",
        "parameters": 12_345, "steps": 20, "best_loss": 1.5, "unit": "character", "seconds": 2.0,
        "state": "finished", "problem": None,
    }  # fmt: skip


def test_a_run_in_place_of_a_folder_of_runs_is_refused(cli, folder_of_runs):
    run = folder_of_runs / "one"
    result = cli("runs", run, code=1)
    assert result.stderr.startswith(f"charlstm: {run} is a run, not a folder of runs: ")
    assert result.stdout == "" and result.stderr.count("\n") == 1


def test_a_missing_folder_of_runs_is_refused_in_one_line(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("runs", code=1)
    assert result.stderr.startswith("charlstm: runs: no folder of runs") and result.stdout == ""
