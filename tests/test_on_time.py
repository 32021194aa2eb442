"""scripts/on_time: runs of seconds, and what it says of one that is late."""

import pytest
from load_script import load_script

script = load_script("on_time")


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        script.main([str(argument) for argument in arguments])
    return caught.value.code, capsys.readouterr().out


def test_short_runs_end_in_time_in_quiet_and_under_load(text_file, capsys):
    code, output = run(capsys, "--minutes", 0.1, "--text", text_file)
    quiet, loaded = (line.split("|")[1:-1] for line in output.splitlines()[2:])
    assert [cell.strip() for cell in quiet[:2]] == ["--minutes 0.1, quiet", "6"]
    assert loaded[0].strip() == "--minutes 0.1, half a core taken"
    taken = [float(cells[2]) for cells in (quiet, loaded)]
    assert all(2 < seconds < 30 for seconds in taken)
    assert code == (0 if all(0.7 <= seconds <= 11.3 for seconds in taken) else 1)


@pytest.mark.parametrize(("seconds", "code"), [(98.0, 0), (108.01, 1), (81.99, 1)])
def test_what_is_late_or_early_is_told(monkeypatch, capsys, text_file, seconds, code):
    monkeypatch.setattr(script, "train", lambda *arguments: seconds)
    # of 95 seconds, 9.75 more or less are allowed
    found, output = run(capsys, "--minutes", 95 / 60, "--text", text_file)
    assert found == code and f"{seconds:.1f}" in output
