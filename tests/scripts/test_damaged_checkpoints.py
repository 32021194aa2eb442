"""scripts/mutate_checkpoints: a small number of files, and that it sees what is wrong."""

import damaged_checkpoints as mutate
import pytest

# other tests have left threads, none of which holds a lock
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def test_damaged_checkpoints_are_read_as_they_were_or_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        mutate.main(["--count", "250", "--seed", "1"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    kinds, total = out.splitlines()[2:-1], out.splitlines()[-1]
    assert len(kinds) == len(mutate.KINDS)
    _, _, files, equal, refused, wrong, slowest, megabytes, _ = map(str.strip, total.split("|"))
    assert int(files) == 250 == int(equal) + int(refused) and wrong == "0"
    assert int(equal) > 5 and float(slowest) <= 1 and float(megabytes) <= 200


@pytest.mark.parametrize(
    ("outcome", "seconds", "megabytes", "good"),
    [
        ("refused", 0.9, 199.0, True),
        ("read as something else", 0.1, 1.0, False),
        ("refused", 1.1, 1.0, False),
        ("equal", 0.1, 201.0, False),
    ],
)
def test_what_is_wrong_is_told(outcome, seconds, megabytes, good):
    found = [(0, "bits", mutate.Result("equal", 0.1, 1.0))]
    found.append((1, "weights", mutate.Result(outcome, seconds, megabytes)))
    text, all_good = mutate.summary(found)
    assert all_good == good
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert rows[2] == ["bits", "1", "1", "0", "0", "0.100", "1"]
    counts = {"equal": ["2", "0", "0"], "refused": ["1", "1", "0"]}
    assert rows[-1][:5] == ["all", "2", *counts.get(outcome, ["1", "0", "1"])]


def test_a_file_that_ends_the_process_is_told_and_the_others_go_on(monkeypatch):
    def read(path, original, whole, damage):
        if len(path.read_bytes()) % 7 == 0:
            mutate.sys.exit(3)
        return "refused"

    monkeypatch.setattr(mutate, "read", read)
    found = list(mutate.results(40, list(mutate.KINDS), 0))
    assert [number for number, _, _ in found] == list(range(40))
    died = [result for _, _, result in found if result.outcome == "the process died: 3"]
    assert 1 <= len(died) < 20
