"""phases.py: the operations it counts, the sum of its timers, its table."""

import json
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import against_pytorch as bench
import phases
import pytest

import charlstm

SMALL = ("--layers=2", "--hidden=8", "--batch-size=6", "--seq-length=10", "--steps=3")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("common.SGEMM_SIZES", (64,))
    monkeypatch.setattr("common.SETTLE_SECONDS", 0)


def run(capsys, *arguments):
    phases.main([*SMALL, *arguments])
    return capsys.readouterr().out


def test_operations_are_those_of_the_step():
    for shape in (*phases.SHAPES, phases.Shape(3, 5, 2, 3)):
        assert sum(phases.operations(shape).values()) == shape.step_operations
    # 6 characters, 5 units, gates of 20 columns: Wh of three layers, Wx of two
    counted = phases.operations(phases.Shape(3, 5, 2, 3))
    assert counted[phases.FORWARD] == counted[phases.BACKWARD] == 2 * 6 * 3 * 100
    assert counted[phases.PRODUCTS] == 2 * 6 * (3 * 100 + 3 * 2 * 100)
    assert counted[phases.HEAD] == 3 * 2 * 6 * 5 * 65


def test_phases_and_the_rest_are_the_step(capsys):
    result = json.loads(run(capsys, "--json"))
    assert result["machine"]["steps"] == 3
    (row,) = result["rows"]
    assert tuple(row[name] for name in phases.Shape._fields) == (2, 8, 6, 10)
    assert row["workers"] == min(6, result["machine"]["cores"])
    assert list(row["phases"]) == [*phases.PHASES, phases.REST]
    parts = row["phases"].values()
    assert sum(part["milliseconds"] for part in parts) == pytest.approx(row["milliseconds"])
    assert sum(part["share"] for part in parts) == pytest.approx(1)
    assert all(row["phases"][name]["milliseconds"] > 0 for name in phases.PHASES)
    assert row["milliseconds_without_timers"] > 0

    whole = phases.Shape(2, 8, 6, 10).step_operations
    assert sum(part["operations"] for part in parts) == row["operations"] == whole
    peak = result["machine"]["sgemm_gflops"]
    with_products = [part for part in parts if part["operations"]]
    assert len(with_products) == 4
    for part in (*with_products, row):
        seconds = part["milliseconds"] / 1e3
        assert part["gflops"] == pytest.approx(part["operations"] / seconds / 1e9)
        assert part["peak_share"] == pytest.approx(part["gflops"] / peak)
    assert all(part["gflops"] is None for part in parts if not part["operations"])


def test_prints_a_table(capsys):
    lines = run(capsys).splitlines()
    assert lines[0].startswith("2×8, batch size 6, sequence length 10, workers: ")
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert names[0] == "phase" and names[1:] == [*phases.PHASES, phases.REST, "step"]
    assert any(line.startswith("without timers: ") for line in lines)
    assert any(line.startswith("sgemm gflops ") for line in lines)


@pytest.fixture
def functions(monkeypatch):
    """Functions to time instead: outer calls inner, by a clock that only they move."""
    clock = SimpleNamespace(now=0.0)
    owner = SimpleNamespace(__name__="owner")

    def inner(seconds):
        clock.now += seconds

    def outer(seconds):
        clock.now += 1
        owner.inner(seconds)
        return "result"

    owner.inner, owner.outer = inner, outer
    listed = ((owner, "inner", phases.HEAD), (owner, "outer", lambda seconds: phases.GATHER))
    monkeypatch.setattr(phases, "FUNCTIONS", listed)
    monkeypatch.setattr(phases.time, "perf_counter", lambda: clock.now)
    return owner


def test_a_call_within_a_timed_one_belongs_to_it(functions):
    timers = phases.Timers()
    plain = functions.outer
    with timers.running():
        assert functions.outer(4) == "result"
        functions.inner(2)
    assert functions.outer is plain
    functions.outer(8)  # no longer timed
    assert timers.take() == {**dict.fromkeys(phases.PHASES, 0), phases.GATHER: 5, phases.HEAD: 2}
    assert set(timers.take().values()) == {0}


def test_threads_add_up(functions):
    timers = phases.Timers()
    with timers.running():
        for _ in range(2):
            with ThreadPoolExecutor(1) as pool:
                pool.submit(functions.inner, 3).result()
    assert timers.take()[phases.HEAD] == 6


def test_timers_are_gone_after_a_failure(functions):
    timers = phases.Timers()
    plain = functions.inner
    with pytest.raises(TypeError), timers.running():
        functions.inner("no number")
    assert functions.inner is plain


def test_a_table_that_does_not_fit_the_library_is_an_error(monkeypatch):
    listed = (*phases.FUNCTIONS, (charlstm.kernels, "no_such", phases.HEAD))
    monkeypatch.setattr(phases, "FUNCTIONS", listed)
    with pytest.raises(SystemExit, match=r"charlstm\.kernels has no no_such"):
        phases.Timers()
    listed = (*phases.FUNCTIONS[:-1], (charlstm.kernels, "gru_forward", phases.FORWARD))
    monkeypatch.setattr(phases, "FUNCTIONS", listed)
    with pytest.raises(SystemExit, match="a step calls no gru_forward"):
        phases.measure(phases.Shape(1, 8, 2, 10), 1, lambda: None)


def test_the_shapes_are_those_asked_for():
    nothing = dict.fromkeys(phases.Shape._fields)
    assert phases.chosen_shapes(**nothing) == phases.SHAPES
    asked = phases.chosen_shapes(**{**nothing, "layers": 1, "batch_size": 32})
    assert asked == (phases.Shape(1, 256, 32, 50),)
    beside_pytorch = {shape for _, shape in bench.chosen_tasks("train", [128, 256, 512])}
    assert set(phases.SHAPES) == beside_pytorch


@pytest.mark.parametrize("arguments", (["--hidden", "0"], ["--steps", "0"]))
def test_numbers_below_one_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        phases.main(arguments)
    assert stopped.value.code == 2
    assert "must be 1 or more" in capsys.readouterr().err
