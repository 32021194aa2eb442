"""scripts/stress/crash.py: a few runs, and that each kind of failure is found."""

import os
import re
import shutil
import subprocess
import sys

import crash
import interruptions
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Runs under NumPy kernels that are killed, of 12 steps instead of 30."""
    options = crash.OPTIONS.replace("--steps 30 --eval-every 3", "--steps 12 --eval-every 2")
    assert options != crash.OPTIONS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crash, "KERNELS", ("numpy",))
        patch.setattr(crash, "OPTIONS", options)
        root = tmp_path_factory.mktemp("crash")
        yield crash.Campaign(root, "kill", interruptions.kill, seed=4)


def test_a_killed_run_ends_with_the_results_of_an_uninterrupted_one(campaign, tmp_path):
    assert set(campaign.expected["numpy"]) >= {"metrics", "best.safetensors head.W"}
    campaign.run(tmp_path / "run", "numpy")
    tally = campaign.tallies["numpy"]
    assert (tally.runs, tally.identical) == (1, 1)
    assert tally.interruptions >= 1


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors"])
def test_a_difference_of_one_bit_is_found(campaign, tmp_path, name):
    shutil.copytree(campaign.root / "numpy", tmp_path / "run")
    arrays = load_file(tmp_path / "run" / name)
    arrays["head.W"].view(np.uint8).reshape(-1)[0] ^= 1
    save_file(arrays, tmp_path / "run" / name)
    with pytest.raises(crash.FailedError, match=rf"^differs in {name} head\.W$"):
        campaign.require_expected_results(tmp_path / "run", "numpy")


def test_a_different_loss_is_found(campaign, tmp_path):
    shutil.copytree(campaign.root / "numpy", tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    text = metrics.read_text(encoding="utf-8")
    metrics.write_text(re.sub(r'(_loss": \d+\.\d)', r"\g<1>9", text, count=1), encoding="utf-8")
    assert metrics.read_text(encoding="utf-8") != text
    with pytest.raises(crash.FailedError, match=r"^differs in metrics$"):
        campaign.require_expected_results(tmp_path / "run", "numpy")


def test_a_file_that_was_left_behind_is_found(campaign):
    folder = campaign.root / "numpy"
    campaign.require_expected_results(folder, "numpy")
    (folder / "last.safetensors.7.tmp").touch()
    with pytest.raises(crash.FailedError, match=r"left behind: last\.safetensors\.7\.tmp"):
        campaign.require_expected_results(folder, "numpy")


def test_a_damaged_checkpoint_is_found(trained, tmp_path):
    crash.require_readable(trained)
    data = (trained / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(crash.FailedError, match="unreadable: "):
        crash.require_readable(tmp_path)


@pytest.mark.parametrize(
    ("code", "errors", "interruption", "expected"),
    [
        (-9, "", "kill", True),
        (1, "Traceback\n", "kill", False),
        (143, "interrupted and saved\n", "term", True),
        (143, "Traceback\n  x\nKeyboardInterrupt\n", "term", False),
        (1, "charlstm: x: No space left on device\n", "full", True),
        (1, "charlstm: x: No such file\n", "full", False),
        (1, "Traceback\n  x\nOSError: No space left on device\n", "full", False),
    ],
)
def test_an_interrupted_process_ends_with_a_fitting_code_and_one_line(
    code, errors, interruption, expected
):
    assert crash.ended_as_expected(code, errors, interruption) == expected


def has_native_kernels():
    done = subprocess.run(
        [sys.executable, "-c", "from charlstm import kernels; kernels.require_requested_kernels()"],
        env=os.environ | {"CHARLSTM_KERNELS": "native"},
        capture_output=True,
    )
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("interruption", ["kill", "term", "full"])
def test_interrupted_runs_end_with_the_results_of_uninterrupted_ones(
    interruption, capsys, monkeypatch
):
    monkeypatch.setattr(crash, "KERNELS", crash.KERNELS if has_native_kernels() else ("numpy",))
    with pytest.raises(SystemExit) as caught:
        crash.main(["--runs", "4", "--with", interruption, "--seed", "5"])
    output = capsys.readouterr().out
    assert caught.value.code == 0, output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()]
    rows = [row for row in rows if row and row[0] in ("native", "numpy")]
    assert sum(int(row[1]) for row in rows) == sum(int(row[4]) for row in rows) == 4
    assert sum(int(row[2]) for row in rows) >= 2
    assert re.match(r"4 runs with ", output)
