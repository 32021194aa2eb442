"""time_budget.py: runs of seconds, and its verdict on runs that are late or early."""

import pytest
import time_budget as script


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        script.main([str(argument) for argument in arguments])
    return caught.value.code, capsys.readouterr().out


@pytest.mark.slow
def test_a_run_is_measured_in_quiet_and_under_load(text_file, capsys):
    _, output = run(capsys, "--minutes", 0.1, "--text", text_file)
    quiet, loaded = (line.split("|")[1:-1] for line in output.splitlines()[2:])
    assert [cell.strip() for cell in quiet[:2]] == ["--minutes 0.1, quiet", "6"]
    assert [cell.strip() for cell in loaded[:2]] == ["--minutes 0.1, half a core taken", "6"]
    assert all(2 < float(cells[2]) < 30 for cells in (quiet, loaded))


# Of 95 seconds, 9.75 more or less are allowed; of 600 seconds, 35.
@pytest.mark.parametrize(
    ("budget", "quiet", "loaded", "code"),
    [
        (95, 98.0, 92.0, 0),
        (95, 104.7, 85.3, 0),
        (95, 104.8, 95.0, 1),
        (95, 95.0, 104.8, 1),
        (95, 85.2, 95.0, 1),
        (95, 95.0, 85.2, 1),
        (600, 634.9, 565.1, 0),
        (600, 635.1, 600.0, 1),
        (600, 600.0, 564.9, 1),
    ],
)
def test_the_exit_code_is_1_where_a_run_is_late_or_early(
    monkeypatch, capsys, text_file, budget, quiet, loaded, code
):
    monkeypatch.setattr(script, "train", lambda text, minutes, load: loaded if load else quiet)
    found, output = run(capsys, "--minutes", budget / 60, "--text", text_file)
    assert found == code
    taken = [line.split("|")[3].strip() for line in output.splitlines()[2:]]
    assert taken == [f"{quiet:.1f}", f"{loaded:.1f}"]


def test_one_late_run_of_several_budgets_is_enough(monkeypatch, capsys, text_file):
    # 30 seconds may take 36.5
    monkeypatch.setattr(
        script, "train", lambda text, minutes, load: {0.5: 37.0, 3.0: 180.0}[minutes]
    )
    arguments = ["--text", text_file, "--minutes"]
    assert run(capsys, *arguments, 0.5, 3.0)[0] == 1
    assert run(capsys, *arguments, 3.0)[0] == 0


def test_a_run_that_fails_ends_the_script(tmp_path):
    with pytest.raises(SystemExit, match=r"a run of 0\.1 minutes ended with exit code 1"):
        script.train(tmp_path / "missing.txt", 0.1, False)


def test_a_missing_text_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit):
        script.main(["--text", str(tmp_path / "missing.txt")])
    assert "missing.txt" in capsys.readouterr().err
