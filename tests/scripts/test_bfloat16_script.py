"""scripts/precision_quality: it measures what a run measures, and goes on where it was stopped."""

import bfloat16 as quality
import pytest

import charlstm
from charlstm import kernels

SMALL = {"layers": 1, "hidden": 8, "batch_size": 4, "seq_length": 10, "lr": 0.01}


@pytest.fixture(autouse=True)
def small(monkeypatch, text_file):
    monkeypatch.setattr(quality, "SETTING", quality.SETTING | SMALL)
    monkeypatch.setattr(quality, "TEXTS", {"reber": text_file})


def call(table, *more):
    arguments = ["--steps", "5", "--seeds", "0", "7", "--table", str(table), *more]
    quality.main(arguments)


def test_rows_are_the_losses_of_runs_and_the_summary_their_means(tmp_path, text_file, capsys):
    call(tmp_path / "t.tsv")
    rows = quality.read_rows(tmp_path / "t.tsv")
    keys = [(seed, precision) for seed in "07" for precision in ("float32", "bfloat16")]
    found = [tuple(row[name] for name in quality.KEY) for row in rows]
    assert found == [("reber", "5", *key, kernels.DESCRIPTION) for key in keys]
    nats = [float(row["nats"]) for row in rows]
    for (seed, precision), loss in zip(keys, nats, strict=True):
        setting = quality.SETTING | {"warmup": 0, "steps": 5, "eval_every": 5, "seed": int(seed)}
        folder = tmp_path / f"{seed} {precision}"
        run = charlstm.train(text_file, folder, precision=precision, **setting)
        assert run.best_val_loss == loss
    assert nats[0] != nats[1] and nats[0] != nats[2]
    heading, _, line = capsys.readouterr().out.splitlines()[2:]
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    mean = [(nats[0] + nats[2]) / 2, (nats[1] + nats[3]) / 2]
    assert cells[:3] == ["reber", f"{mean[0]:.4f}", f"{mean[1]:.4f}"]
    assert cells[3].startswith(f"{mean[1] - mean[0]:+.4f} (")
    assert float(cells[5]) == pytest.approx(mean[0] / 0.6931472 - 0.538462, abs=1e-4)
    assert len(cells) == len(heading.split("|")) - 2


def test_what_is_in_the_table_is_not_measured_again(tmp_path, monkeypatch, capsys):
    path, measured = tmp_path / "t.tsv", []

    def measure(*key):
        measured.append(key)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return 1.5, 60.0

    monkeypatch.setattr(quality, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        call(path)
    assert path.read_text().count("\n") == 3  # the heading and what was done
    call(path)
    expected = [("reber", 5, seed, p) for seed in (0, 7) for p in quality.PRECISIONS]
    assert measured == [*expected[:3], *expected[2:]]
    before = path.read_text()
    call(path)
    assert path.read_text() == before and len(measured) == 5
    call(path, "--steps", "6")  # is another thing
    assert len(measured) == 9


def test_what_cannot_be_measured_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quality, "TEXTS", {"reber": tmp_path / "none.txt"})
    for arguments in ([], ["--steps", "0"], ["--texts", "novel"]):
        with pytest.raises(SystemExit):
            quality.main(arguments)
    errors = capsys.readouterr().err
    assert "there is no" in errors and "--steps must be 1" in errors and "invalid choice" in errors
