"""scripts/stress/damaged_checkpoints.py: a small number of files, and that failures are found."""

import hashlib
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
    ("outcome", "seconds", "megabytes", "failure"),
    [
        ("refused", 0.9, 199.0, None),
        ("read as something else", 0.1, 1.0, "read as something else"),
        ("refused", 1.1, 1.0, "refused after 1.10 s of processor time"),
        ("equal", 0.1, 201.0, "equal with 201 MB above its size"),
    ],
)
def test_wrong_slow_and_large_results_are_failures(outcome, seconds, megabytes, failure):
    found = [(0, "bits", damaged_checkpoints.Result("equal", 0.1, 1.0))]
    found.append((1, "weights", damaged_checkpoints.Result(outcome, seconds, megabytes)))
    expected = [] if failure is None else [f"file 1 (weights): {failure}"]
    assert damaged_checkpoints.failures(found) == expected
    assert damaged_checkpoints.numbers(found) == {
        "read unchanged": 1 + (outcome == "equal"),
        "refused": int(outcome == "refused"),
        "s at most": seconds,
        "MB above the file at most": megabytes,
    }
    text = damaged_checkpoints.summarise(found)
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


def times_of_reading(monkeypatch, path, times):
    """The result of measuring a file that takes these times, and the number of readings."""
    clock = iter([moment for seconds in times for moment in (0.0, seconds)])
    monkeypatch.setattr(damaged_checkpoints, "read", lambda *arguments: "refused")
    monkeypatch.setattr(damaged_checkpoints.time, "process_time", lambda: next(clock))
    result = damaged_checkpoints.measure(path, None, None, None)
    return result.seconds, (len(times) * 2 - len(list(clock))) // 2


@pytest.mark.parametrize(
    ("times", "seconds", "readings"),
    [([0.4, 9, 9], 0.4, 1), ([1.2, 0.5, 9], 0.5, 2), ([1.4, 1.2, 1.3, 0.1], 1.2, 3)],
)
def test_a_slow_file_is_read_again_as_other_processes_may_have_slowed_it_down(
    times, seconds, readings, monkeypatch, trained
):
    path = trained / "best.safetensors"
    assert times_of_reading(monkeypatch, path, times) == (seconds, readings)


def test_another_seed_damages_other_files_and_the_same_seed_the_same(monkeypatch, tmp_path):
    originals = damaged_checkpoints.make_originals(tmp_path)

    def read(path, *arguments):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def files(seed):
        found = damaged_checkpoints.results(30, list(damaged_checkpoints.KINDS), seed)
        return [(kind, result.outcome) for _, kind, result in found]

    monkeypatch.setattr(damaged_checkpoints, "make_originals", lambda folder: originals)
    monkeypatch.setattr(damaged_checkpoints, "load_checkpoint", lambda path: None)
    monkeypatch.setattr(damaged_checkpoints, "read", read)
    monkeypatch.setattr(damaged_checkpoints, "show_and_resume", lambda *arguments, resumes: None)
    first, second = files(1), files(2)
    assert files(1) == first
    assert len({*first, *second}) > 55
