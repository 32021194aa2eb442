"""gpu.py: a trial on the CPU prints the whole table; without a CUDA device it says so."""

import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import gpu  # noqa: E402


def test_a_trial_prints_a_row_for_each_size_and_precision(monkeypatch, capsys):
    monkeypatch.setattr(gpu, "WARM_UP_STEPS", 1)
    monkeypatch.setattr(gpu, "TIMED_STEPS", 1)
    monkeypatch.setattr(gpu, "ROUNDS", 1)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--trial"])
    gpu.main()
    first, _, headings, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("Characters a second on a trial on the CPU, PyTorch ")
    assert headings.count("|") == len(gpu.HEADINGS) + 1
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [
        ["1×8", "float32"], ["2×8", "float32"], ["1×8", "bfloat16"], ["2×8", "bfloat16"]
    ]  # fmt: skip
    for row in cells:
        rate, peer = (float(cell.split()[0].replace(",", "")) for cell in (row[3], row[2]))
        assert float(row[4]) == pytest.approx(rate / peer, rel=0.1, abs=0.02)
        assert row[3].endswith(("(B=2)", "(B=4)"))


def test_the_way_of_nn_lstm_trains(monkeypatch):
    monkeypatch.setattr(gpu, "IDS", np.arange(4000) % 7)
    steps = gpu.lstm_steps(gpu.Shape(1, 16, 8, 6), "float32", "cpu")
    losses = [next(steps) for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(gpu.SYMBOLS), abs=0.3)
    assert losses[-1] < losses[0] - 0.5


def test_without_a_cuda_device_the_script_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="PyTorch finds no CUDA device here"):
        gpu.main()
