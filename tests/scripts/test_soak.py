"""scripts/stress/soak.py: a short run, and that each failure is found in fixed samples."""

import math
import os
import shutil

import numpy as np
import pytest
import soak
from safetensors.numpy import load_file, save_file

MEGABYTE = 1_000_000


def samples(memories, seconds=None):
    """Samples of a run, ten steps apart, with these bytes and these seconds for ten steps.

    The run takes twice as much processor time, as it keeps two cores busy.
    """
    times = np.cumsum(seconds if seconds is not None else np.ones(len(memories)))
    rows = enumerate(zip(times, memories, strict=True))
    return [soak.Sample(t, 2 * t, 10 * (k + 1), memory) for k, (t, memory) in rows]


STEADY = samples([100 * MEGABYTE] * 41)


def test_the_growth_of_memory_is_measured_from_the_second_to_the_last_quarter():
    assert soak.growth(samples([100] * 40)) == 0
    assert soak.growth(samples([100] * 9 + [50] * 31)) == 0  # the first quarter does not count
    assert soak.growth(samples(list(range(100, 140)))) == 139 - 119


def test_the_slowest_tenth_is_compared_with_the_median_tenth():
    assert soak.slowdown(samples([1] * 41)) == pytest.approx(1)
    seconds = np.ones(41)
    seconds[21:25] = 3  # one of the tenths, of four samples each
    assert soak.slowdown(samples([1] * 41, seconds)) == pytest.approx(3)


def test_time_that_a_run_waits_for_a_core_does_not_count():
    steady = samples([1] * 41)
    waiting = [s._replace(seconds=s.seconds + 100 * (k > 20)) for k, s in enumerate(steady)]
    assert soak.slowdown(waiting) == soak.slowdown(steady)


def test_processor_time_of_this_process_is_read():
    before = soak.processor_seconds(os.getpid())
    assert before == pytest.approx(sum(os.times()[:2]), abs=0.5)


def test_the_numbers_are_the_largest_of_both_runs():
    growing = samples([100 * MEGABYTE] * 30 + [104_300_000] * 11)
    assert soak.numbers({"under load": growing, "without load": STEADY}) == {
        "MB of memory at most": 104,
        "MB of growth at most": 4.3,
        "times the median tenth at most": 1.0,
    }


def test_a_difference_of_one_bit_is_found(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "other")
    assert soak.differences(trained, tmp_path / "other") == []
    path = tmp_path / "other" / "last.safetensors"
    arrays = load_file(path)
    arrays["training.state"].view(np.uint8).reshape(-1)[0] ^= 1
    save_file(arrays, path)
    assert soak.differences(trained, tmp_path / "other") == ["last.safetensors training.state"]


@pytest.mark.parametrize(
    ("megabytes", "found"),
    [(4.9, []), (5.1, ["memory grew by 5.1 MB under load"]), (-50, [])],
)
def test_memory_may_grow_by_5_megabytes(megabytes, found):
    growing = [100 * MEGABYTE] * 30 + [int((100 + megabytes) * MEGABYTE)] * 11
    runs = {"under load": samples(growing), "without load": STEADY}
    assert soak.failures(runs, [], soak.MAX_SLOWDOWN) == found


@pytest.mark.parametrize(
    ("slow", "found"),
    [(1.9, []), (2.1, ["a tenth of the run took 2.1 times as long without load"])],
)
def test_a_tenth_of_a_run_may_take_twice_as_long(slow, found):
    seconds = np.ones(41)
    seconds[21:25] = slow
    runs = {"under load": STEADY, "without load": samples([100 * MEGABYTE] * 41, seconds)}
    assert soak.failures(runs, [], soak.MAX_SLOWDOWN) == found


def test_different_results_are_a_failure():
    runs = {"under load": STEADY, "without load": STEADY}
    found = soak.failures(runs, ["best.safetensors head.W"], soak.MAX_SLOWDOWN)
    assert found == ["results differ in best.safetensors head.W"]


@pytest.mark.parametrize(
    ("differing", "code", "last_line"),
    [
        ([], 0, "the results are identical"),
        (["last.safetensors head.b"], 1, "results differ in last.safetensors head.b"),
    ],
)
def test_the_exit_code_and_the_table_tell_the_outcome(
    differing, code, last_line, capsys, monkeypatch
):
    runs = {"under load": samples([103_400_000] * 41), "without load": STEADY}
    monkeypatch.setattr(soak, "train_twice", lambda root, steps, seed: (runs, differing))
    monkeypatch.setattr(soak.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        soak.main(["--steps", "410"])
    assert caught.value.code == code
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:6]]
    assert rows == [
        ["under load", "41", "10.0", "103.4", "+0.0", "1.00"],
        ["without load", "41", "10.0", "100.0", "+0.0", "1.00"],
    ]
    assert (lines[0], lines[-1]) == ("410 steps", last_line)


@pytest.mark.slow
def test_a_short_run_is_the_same_under_load_and_its_memory_is_flat(tmp_path, monkeypatch):
    """Its steadiness is not judged, as in a run of seconds it depends on other processes.

    Without the table of n-grams, whose saves would take a large part of so short a run, and without
    the report, of which the first page takes its memory late in so short a run.
    """
    size = "--hidden 24 --layers 1 --ngrams 0 --no-report"
    small = soak.OPTIONS.replace("--hidden 128 --layers 2", size)
    assert small != soak.OPTIONS
    monkeypatch.setattr(soak, "OPTIONS", small)
    runs, differing = soak.train_twice(tmp_path, 200, seed=1)
    assert soak.failures(runs, differing, max_slowdown=math.inf) == []
    for name, found in runs.items():
        assert len(found) > 20, name
        assert 15 * MEGABYTE < max(sample.memory for sample in found) < 60 * MEGABYTE
        assert found[-1].step > 180
