"""scripts/stress/damaged_checkpoints.py: a small number of files, and that failures are found."""

import sys

import damaged_checkpoints
import pytest

# threads of earlier tests are still there, but hold no locks
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.mark.parametrize(
    ("count", "kinds"), [(100, 12), pytest.param(1_000, 14, marks=pytest.mark.slow)]
)
def test_damaged_checkpoints_are_read_unchanged_or_refused(count, kinds, capsys):
    with pytest.raises(SystemExit) as ended:
        damaged_checkpoints.main(["--count", str(count), "--seed", "1"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    rows, total = out.splitlines()[2:-1], out.splitlines()[-1].replace(",", "")
    assert kinds <= len(rows) <= len(damaged_checkpoints.KINDS) == 14
    _, _, files, equal, refused, wrong, slowest, megabytes, _ = map(str.strip, total.split("|"))
    assert int(files) == count == int(equal) + int(refused) and wrong == "0"
    assert int(equal) > count / 50 and float(slowest) <= 1 and float(megabytes) <= 200


@pytest.mark.parametrize(
    ("outcome", "seconds", "megabytes", "good"),
    [
        ("refused", 0.9, 199.0, True),
        ("read as something else", 0.1, 1.0, False),
        ("refused", 1.1, 1.0, False),
        ("equal", 0.1, 201.0, False),
    ],
)
def test_wrong_slow_and_large_results_are_failures(outcome, seconds, megabytes, good):
    found = [(0, "bits", damaged_checkpoints.Result("equal", 0.1, 1.0))]
    found.append((1, "weights", damaged_checkpoints.Result(outcome, seconds, megabytes)))
    text, all_good = damaged_checkpoints.summarise(found)
    assert all_good == good
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[2] == ["bits", "1", "1", "0", "0", "0.100", "1"]
    counts = {"equal": ["2", "0", "0"], "refused": ["1", "1", "0"]}
    assert rows[-1][:5] == ["all", "2", *counts.get(outcome, ["1", "0", "1"])]


def test_a_file_that_ends_the_process_is_reported_and_the_others_are_read(monkeypatch):
    def read(path, original, undamaged, damage):
        if len(path.read_bytes()) % 7 == 0:
            sys.exit(3)
        return "refused"

    monkeypatch.setattr(damaged_checkpoints, "read", read)
    found = list(damaged_checkpoints.results(40, list(damaged_checkpoints.KINDS), 0))
    assert [number for number, _, _ in found] == list(range(40))
    died = [result for _, _, result in found if result.outcome == "the process died: 3"]
    assert 1 <= len(died) < 20
