"""scripts/crash on a few runs: each interrupted, resumed, and compared to the byte."""

import re

import crash
import pytest


@pytest.mark.parametrize("how", ["kill", "term", "full"])
def test_interrupted_runs_end_as_one_that_never_was(how, capsys, monkeypatch):
    runs = 2 if how == "kill" else 1
    kernels = ("native", "numpy")[:runs]
    monkeypatch.setattr(crash, "KERNELS", kernels if has_native() else ("numpy",))
    with pytest.raises(SystemExit) as caught:
        crash.main(["--runs", str(runs), "--with", how, "--seed", "5"])
    output = capsys.readouterr().out
    assert caught.value.code == 0, output
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()]
    rows = [row for row in rows if row and row[0] in ("native", "numpy")]
    assert sum(int(row[1]) for row in rows) == sum(int(row[4]) for row in rows) == runs
    assert sum(int(row[2]) for row in rows) >= 1
    assert re.match(rf"{runs} runs with ", output)


def has_native():
    return crash.subprocess.run(
        [crash.sys.executable, "-c", "import charlstm"],
        env=crash.os.environ | {"CHARLSTM_KERNELS": "native"},
        capture_output=True,
    ).returncode == 0  # fmt: skip


def test_a_difference_is_found(tmp_path, monkeypatch, text_file):
    """Another seed stands for a run that goes another way after its resumption."""
    monkeypatch.setattr(crash, "KERNELS", ("numpy",))
    campaign = crash.Campaign(tmp_path, "kill", crash.kill, 0)
    assert set(campaign.expected["numpy"]) >= {"metrics", "best.safetensors head.W"}
    monkeypatch.setattr(crash, "OPTIONS", crash.OPTIONS.replace("--seed 7", "--seed 8"))
    with pytest.raises(crash.FailedError, match=r"differs in best\.safetensors head\.W, "):
        campaign.run(tmp_path / "other", "numpy")


def test_a_damaged_checkpoint_is_found(trained, tmp_path):
    crash.require_readable(trained)
    data = (trained / "best.safetensors").read_bytes()
    (tmp_path / "best.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(crash.FailedError, match="unreadable: "):
        crash.require_readable(tmp_path)


def test_a_traceback_is_no_expected_end():
    assert crash.is_as_expected(-9, "", "kill")
    assert crash.is_as_expected(143, "interrupted and saved\n", "term")
    assert not crash.is_as_expected(1, "Traceback\n", "kill")
    assert not crash.is_as_expected(1, "charlstm: x: No such file\n", "full")
    assert not crash.is_as_expected(1, "Traceback\n  x\nOSError: No space left on device\n", "full")
    assert crash.is_as_expected(1, "charlstm: x: No space left on device\n", "full")
