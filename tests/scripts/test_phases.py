"""phases.py: the operations it counts, the sum of the phases, its table."""

import json

import against_pytorch as bench
import phases
import pytest

from charlstm import kernels

SMALL = ("--layers=2", "--hidden=8", "--batch-size=6", "--seq-length=10", "--steps=3")
native = pytest.mark.skipif(kernels.BACKEND != "native", reason="measures native steps")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("common.SGEMM_SIZES", (64,))
    monkeypatch.setattr("common.SETTLE_SECONDS", 0)


def run(capsys, *arguments):
    phases.main([*SMALL, *arguments])
    return capsys.readouterr().out


def test_operations_are_those_of_the_step():
    for shape in (*phases.SHAPES, *phases.AS_TRAINED, phases.Shape(3, 5, 2, 3)):
        assert sum(phases.operations(shape).values()) == shape.step_operations
    # 6 characters, 5 units, gates of 20 columns: Wh of three layers, Wx of two
    counted = phases.operations(phases.Shape(3, 5, 2, 3))
    assert counted["forward recurrence"] == counted["backward recurrence"] == 2 * 6 * 3 * 100
    assert counted["input projection"] == counted["input gradient"] == 2 * 6 * 2 * 100
    assert counted["head and softmax"] == 2 * 2 * 6 * 5 * 65
    assert set(counted) < set(phases.PHASES)


@native
def test_phases_and_the_rest_are_the_step(capsys):
    result = json.loads(run(capsys, "--json", "--as-trained"))
    assert result["machine"]["steps"] == 3
    (row,) = result["rows"]
    assert tuple(row[name] for name in phases.Shape._fields) == (2, 8, 6, 10)
    assert row["workers"] == min(6, result["machine"]["cores"])
    assert list(row["phases"]) == [*phases.PHASES, phases.REST]
    parts = row["phases"].values()
    assert sum(part["milliseconds"] for part in parts) == pytest.approx(row["milliseconds"])
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert all(part["milliseconds"] > 0 for part in parts)

    whole = phases.Shape(2, 8, 6, 10).step_operations
    assert sum(part["operations"] for part in parts) == row["operations"] == whole
    with_products = [part for part in parts if part["operations"]]
    assert len(with_products) == 6
    for part in (*with_products, row):
        seconds = part["milliseconds"] / 1e3
        assert part["gflops"] == pytest.approx(part["operations"] / seconds / 1e9)
        assert part["peak_share"] == pytest.approx(part["gflops"] / row["sgemm_gflops"])
    assert all(part["gflops"] is None for part in parts if not part["operations"])


@native
def test_prints_a_table(capsys):
    lines = run(capsys).splitlines()
    assert lines[0].startswith("2×8, batch size 6, sequence length 10, workers: ")
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert names[0] == "phase" and names[1:] == [*phases.PHASES, phases.REST, "step"]


def test_other_steps_are_refused(monkeypatch):
    monkeypatch.setattr(kernels, "can_train", lambda *_: False)
    with pytest.raises(SystemExit, match="needs the native kernels"):
        phases.main([*SMALL])


def test_the_shapes_are_those_asked_for():
    nothing = dict.fromkeys(phases.Shape._fields)
    assert phases.chosen_shapes(False, **nothing) == phases.SHAPES
    assert phases.chosen_shapes(True, **nothing) == phases.AS_TRAINED
    asked = phases.chosen_shapes(True, **{**nothing, "layers": 1, "batch_size": 32})
    assert asked == (phases.Shape(1, 256, 32, 50),)
    beside_pytorch = {shape for _, shape in bench.chosen_tasks("train", [128, 256, 512])}
    assert set(phases.SHAPES) == beside_pytorch


@pytest.mark.parametrize("arguments", (["--hidden", "0"], ["--steps", "0"]))
def test_numbers_below_one_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        phases.main(arguments)
    assert stopped.value.code == 2
    assert "must be 1 or more" in capsys.readouterr().err
