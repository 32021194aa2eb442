"""scripts/soak: a short one, and that what should not be is found."""

import shutil

import numpy as np
import pytest
import soak
from safetensors.numpy import load_file, save_file


def test_a_short_soak_ends_alike_under_load_and_in_quiet(capsys, monkeypatch):
    smaller = soak.OPTIONS.replace("--hidden 128 --layers 2", "--hidden 24 --layers 1")
    monkeypatch.setattr(soak, "OPTIONS", smaller)
    # how steady so short a run is says more of the machine, how it grows more of allocators
    monkeypatch.setattr(soak, "MOST_GROWTH", 100_000_000)
    with pytest.raises(SystemExit) as caught:
        soak.main(["--steps", "200", "--most-slower", "1000"])
    output = capsys.readouterr().out
    assert caught.value.code == 0, output
    assert "200 steps\n" in output and "the results are identical\n" in output
    rows = [
        line for line in output.splitlines() if line.startswith("| under load") or "quiet" in line
    ]
    assert len(rows) == 2


def samples(memories, seconds=None):
    times = np.cumsum(seconds if seconds is not None else np.ones(len(memories)))
    rows = enumerate(zip(times, memories, strict=True))
    return [soak.Sample(float(t), 10 * (k + 1), memory) for k, (t, memory) in rows]


def test_memory_that_grows_is_seen():
    assert soak.growth(samples([100] * 40)) == 0
    assert soak.growth(samples([100] * 9 + [50] * 31)) == 0  # what a start takes is no growth
    assert soak.growth(samples(list(range(100, 140)))) == 139 - 119


def test_a_part_that_is_slow_is_seen():
    assert soak.slowest(samples([1] * 41)) == pytest.approx(1)
    seconds = np.ones(41)
    seconds[20:24] = 3
    assert soak.slowest(samples([1] * 41, seconds)) == pytest.approx(2.5, abs=0.6)


def test_a_difference_of_one_bit_is_seen(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "other")
    assert soak.differences(trained, tmp_path / "other") == []
    path = tmp_path / "other" / "last.safetensors"
    arrays = load_file(path)
    arrays["training.state"].view(np.uint8).reshape(-1)[0] ^= 1
    save_file(arrays, path)
    assert soak.differences(trained, tmp_path / "other") == ["last.safetensors training.state"]
