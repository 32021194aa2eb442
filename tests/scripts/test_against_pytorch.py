"""against_pytorch.py: its rows, its choice of tasks and its table."""

import json

import against_pytorch as bench
import common
import pytest
import torch_lstm

import charlstm

KEYS = (
    *("task", "backend", "precision", "layers", "hidden", "batch_size", "seq_length"),
    *(
        "milliseconds",
        "characters_per_second",
        "peer",
        "peer_milliseconds",
        "ratio",
        "spread",
        "peak_share",
    ),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(common, "SGEMM_SIZES", (64,))
    monkeypatch.setattr(bench, "BF16_SIZE", 64)
    monkeypatch.setattr(bench, "BLOCK_SECONDS", 0.01)
    monkeypatch.setattr(bench, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(common, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(bench, "START_REPEATS", 1)
    # Threads of PyTorch wait for each other for long where other processes want the cores.
    monkeypatch.setattr(torch_lstm, "available_cores", lambda: 1)


def run(capsys, *arguments):
    bench.main(["--hidden", "8", "--rounds", "1", *arguments])
    return capsys.readouterr().out


def measure(capsys, *arguments):
    """The machine, the rows by task and peer's precision, and the figures of processes."""
    result = json.loads(run(capsys, "--json", *arguments))
    assert set(result) == {"machine", "rows", "processes"}
    assert set(result["machine"]) == {
        *("cpu", "cores", "numpy", "torch", "sgemm_gflops", "bfloat16_gflops")
    }
    for row in result["rows"]:
        assert set(row) == set(KEYS)
        assert row["backend"] == charlstm.kernels.BACKEND
        seconds = row["milliseconds"] / 1e3
        characters = row["batch_size"] * row["seq_length"]
        assert row["characters_per_second"] == pytest.approx(characters / seconds)
    return result


def test_a_training_step_has_three_products_for_each_forward_one():
    # 3 time steps of 2 streams, 5 units: gates have 20 columns. Forward, in multiply-adds per
    # character: layer 0: 5 * 20 from the state; layer 1: 5 * 20 from the state and 5 * 20 from
    # below; head: 5 * 65. Backward has two products for each of these.
    forward = 2 * 3 * (100 + 100 + 100 + 325)
    assert bench.Shape(2, 5, 2, 3).step_operations == 2 * (forward + 2 * forward)


@pytest.mark.slow
def test_compares_with_pytorch(capsys):
    pytest.importorskip("torch")
    result = measure(capsys, "--bf16")
    rows = result["rows"]
    assert [(row["task"], row["precision"], row["batch_size"]) for row in rows] == [
        *(
            ("train", precision, batch_size)
            for batch_size in (50, 64)
            for precision in bench.PRECISIONS
        ),
        ("sample", "float32", 1),
    ]
    train, bfloat16, sample = rows[0], rows[1], rows[-1]
    assert "bf16" not in train["peer"]
    assert bfloat16["peer"] is None or "bf16" in bfloat16["peer"]
    for row in (train, bfloat16, sample):
        if row["peer"] is None:  # oneDNN's bfloat16 needs AVX-512
            assert row is bfloat16 and row["peak_share"] is None
            continue
        assert row["ratio"] == pytest.approx(row["peer_milliseconds"] / row["milliseconds"])
        low, high = row["spread"]
        assert 0 < low <= high
        assert row["peer"].startswith("nn.LSTM")
    peak = result["machine"]["sgemm_gflops"]
    operations = bench.Shape(2, 8, 50, 50).step_operations
    rate = operations / (train["milliseconds"] / 1e3) / 1e9
    assert train["peak_share"] == pytest.approx(rate / peak)
    assert sample["peak_share"] is None
    processes = result["processes"]
    for name in ("import_seconds", "first_character_seconds"):
        assert 0.01 < processes[name] < 60
    assert 10 < processes["peak_memory_mb_training_2x8"] < 10_000


def test_without_pytorch_only_its_own_figures_are_given(capsys, monkeypatch):
    monkeypatch.setattr(bench, "TORCH", None)
    monkeypatch.setattr(bench, "torch_steps", None)
    result = measure(capsys, "--only", "train", "--bf16")
    assert result["machine"]["torch"] is None
    for row in result["rows"]:
        assert all(row[key] is None for key in ("peer", "peer_milliseconds", "ratio", "spread"))
        assert (row["peak_share"] is not None) == (row["precision"] == "float32")


def test_prints_a_table(capsys, monkeypatch):
    monkeypatch.setattr(bench, "TORCH", None)
    lines = run(capsys, "--only", "sample").splitlines()
    heading, rule, row = (line.split("|") for line in lines[:3])
    assert len(heading) == len(rule) == len(row)
    assert [cell.strip() for cell in row[1:5]] == ["sample", "float32", "1×8", "1×1"]
    assert any(line.startswith("sgemm gflops ") for line in lines)


def test_the_tasks_are_those_asked_for():
    assert len(bench.chosen_tasks(None, [128, 256, 512])) == 8
    trained = bench.chosen_tasks(None, [128], defaults=True)
    assert trained[0] == ("train", (1, 160, 24, 64)) and len(trained) == 5
    assert {shape.hidden for _, shape in bench.chosen_tasks(None, [128, 256])} == {128, 256}
    assert {name for name, _ in bench.chosen_tasks("train", [512])} == {"train"}
    assert {shape.batch_size for _, shape in bench.chosen_tasks("train", [512], bf16=True)} == {
        50,
        64,
    }


@pytest.mark.parametrize("arguments", (["--hidden", "0"], ["--hidden", "x"], ["--rounds", "0"]))
def test_sizes_and_rounds_below_one_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        bench.main(arguments)
    assert stopped.value.code == 2
    assert "must be whole numbers" in capsys.readouterr().err
