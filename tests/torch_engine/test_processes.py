"""Several processes started by torchrun: the same weights, losses of processes, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from corpus_files import make_text

import charlstm
from charlstm import CharlstmError
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.engines import engine_of, is_restarted, process_count, process_number

pytest.importorskip("torch")

SETTINGS = {"hidden": 9, "layers": 2, "skip": True, "ngrams": 4, "ngram_slots": 301}
SETTINGS |= {"dtype": "float64", "batch_size": 5, "seq_length": 8, "eval_every": 25}
SETTINGS |= {"dropout": 0.1, "weight_dropout": 0.1, "seed": 3, "workers": 2, "average": 0.9}
SETTINGS |= {"schedule": "constant", "lr": 0.01, "ngram_lr": 0.2, "engine": "torch"}
SECONDS = 100  # for a training of several processes on a machine that does other things too


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(make_text(80))
    return path


def start(count, *arguments, restarts=0, **settings):
    """Start `charlstm train` in several processes."""
    for name, value in settings.items():
        flag = "--" + name.replace("_", "-")
        arguments += (flag,) if value is True else (flag, value)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", count]
    command = [*torchrun, "--max-restarts", restarts, "-m", "charlstm", "train", *arguments]
    return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)


def finish(process, code=0):
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode == 0) == (code == 0), errors
    return errors


def wait_for_step(run, step):
    """Wait until an evaluation at a step or a later one has been saved."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if any(event["event"] == "eval" and event["step"] >= step for event in events_of(run)):
            return
        time.sleep(0.1)
    pytest.fail("the training does not get on")


def events_of(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def worker_of(process, number):
    """The id of a process that torchrun has started, by its number."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True)
    for pid in found.stdout.decode().split():
        if f"RANK={number}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return int(pid)
    raise AssertionError("no such process")


@pytest.mark.slow
def test_two_processes_end_with_the_weights_of_one_and_three_go_on(corpus, tmp_path):
    """Five streams are shared as two and three."""
    native = SETTINGS | {"engine": "native"}
    charlstm.train(corpus, tmp_path / "one", steps=100, **native)
    expected = load_checkpoint(tmp_path / "one/last.safetensors")
    for settings in (SETTINGS, native):
        run = tmp_path / settings["engine"]
        finish(start(2, corpus, "-r", run, steps=100, **settings))
        saved = load_checkpoint(run / "last.safetensors")
        for name, array in {**expected.model.parameters, **expected.arrays}.items():
            found = {**saved.model.parameters, **saved.arrays}[name]
            assert np.abs(found - array).max() < 1e-5, name
        assert saved.training["kernels"].endswith("), 2 processes")
    errors = finish(start(3, "-r", tmp_path / "torch", resume=True, steps=110))
    assert "goes on with PyTorch" in errors and "3 processes" in errors
    loss = charlstm.train(run=tmp_path / "one", resume=True, steps=110).best_val_loss
    found = [event for event in events_of(tmp_path / "torch") if event["event"] == "eval"]
    assert found[-1]["step"] == 110
    assert min(each["val_loss"] for each in found) == pytest.approx(loss, abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_killed_process_ends_all_and_torchrun_goes_on_from_the_last_save(corpus, tmp_path):
    run, settings = tmp_path / "run", SETTINGS | {"steps": 100_000, "engine": "native"}
    process = start(2, corpus, "-r", run, restarts=1, **settings)
    try:
        wait_for_step(run, 25)
        os.kill(worker_of(process, 1), signal.SIGKILL)
        before = max(event["step"] for event in events_of(run) if event["event"] == "eval")
        wait_for_step(run, before + 50)
        starts = [event for event in events_of(run) if event["event"] == "start"]
        assert [event["resumed"] for event in starts] == [False, True]
        os.kill(worker_of(process, 1), signal.SIGTERM)  # process 0 hears of it, and saves
        process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    saved, stop = load_checkpoint(run / "last.safetensors"), events_of(run)[-1]
    assert (stop["event"], stop["reason"]) == ("stop", "SIGTERM")
    assert saved.summary["step"] == stop["step"] and stop["step"] % 25  # not only an evaluation's
    assert saved.arrays["state"].any(axis=(0, 1, 3)).all()  # the states of all streams
    step = saved.summary["step"]
    assert charlstm.train(run=run, resume=True, steps=step + 2).steps == step + 2


def test_the_end_of_another_process_is_reported_in_one_line():
    """PyTorch raises a RuntimeError when the connection to a process is closed."""
    from charlstm.torch_engine.processes import loss_of_process_noticed

    message = "another process of the training has ended: the run goes on from its last save"
    with pytest.raises(CharlstmError, match=message), loss_of_process_noticed():
        raise RuntimeError("Connection closed by peer [127.0.0.1]:17")


def test_the_processes_of_torchrun_are_counted_by_its_environment(monkeypatch):
    environment = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "3"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process_count() == 4 and process_number() == 3
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert process_number() == 0 and not is_restarted() and engine_of("native").name == "native"
