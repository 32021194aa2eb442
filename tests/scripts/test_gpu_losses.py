"""gpu_losses.py: the GPT learns, its loss is right, and a trial on the CPU prints the table."""

import math
import sys

import pytest

torch = pytest.importorskip("torch")

import gpu_losses  # noqa: E402
from gpu_losses import GPT, Recipe, gpt_loss, rate_at, train_gpt  # noqa: E402

RECIPE = Recipe(layers=1, heads=2, units=8, window=8, batch_size=4, dropout=0.1, steps=40, lr=0.02)


def test_the_size_is_the_one_that_nanogpt_states():
    count = sum(weight.numel() for weight in GPT(65, Recipe()).parameters())
    # 10.65 million without the embedding of places, which nanoGPT does not count
    assert round((count - 256 * 384) / 1e6, 2) == 10.65


def test_the_rate_rises_and_falls_to_a_tenth():
    rates = [rate_at(step, 1000, Recipe()) for step in (0, 99, 100, 550, 1000)]
    assert rates == pytest.approx([1e-3 / 101, 1e-3 * 100 / 101, 1e-3, 5.5e-4, 1e-4])


def test_the_gpt_learns_and_no_prediction_sees_its_target():
    ids = torch.arange(400) % 5
    outcome = train_gpt(ids, ids, 5, 0.5, RECIPE, "cpu")
    assert outcome.loss < 0.2
    assert outcome.steps == 40
    model = GPT(5, RECIPE).eval()
    logits = model(ids[None, :8])
    changed = ids[None, :8].clone()
    changed[0, 5] = 3
    assert torch.equal(model(changed)[0, :5], logits[0, :5])
    assert not torch.equal(model(changed)[0, 5:], logits[0, 5:])


def test_the_loss_of_equal_probabilities_is_that_of_a_uniform_draw():
    model = GPT(5, RECIPE)
    torch.nn.init.zeros_(model.embedding.weight)
    assert gpt_loss(model, torch.arange(400) % 5, 8, "cpu") == pytest.approx(math.log(5), abs=1e-6)


def test_a_trial_prints_a_row_for_each_model(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu_losses.py", "--trial"])
    gpu_losses.main()
    first, _, headings, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("Losses on a trial on the CPU, PyTorch ")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[:2] for row in cells] == [["0.02", "charlstm"], ["0.02", "GPT"]]
    assert all(0.3 < float(row[2]) < 3 for row in cells)
    assert len(cells[0]) == len(gpu_losses.HEADINGS) == headings.count("|") - 1


def test_without_a_cuda_device_the_script_says_so(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu_losses.py"])
    with pytest.raises(SystemExit, match="PyTorch finds no CUDA device here"):
        gpu_losses.main()
