"""scripts/stress/odd_options.py: some of the cases, and that failures are found."""

from collections import Counter
from itertools import combinations

import click
import odd_options
import option_cases
import pytest


def test_every_option_is_tried_by_itself_and_with_every_other():
    tried = list(option_cases.cases())
    for path, command in option_cases.commands():
        own = [case.arguments for case in tried if case.command == path]
        options = [p for p in command.params if isinstance(p, click.Option)]
        single = {arguments[-1].split("=")[0] for arguments in own}
        assert single >= {option.opts[-1] for option in options}
        names = {option.opts[0] for option in options}
        together = {p for arguments in own for p in combinations(sorted(names & {*arguments}), 2)}
        assert together == set(combinations(sorted(names), 2))


def test_no_option_is_given_a_path_of_the_system_that_could_be_written_to():
    """As root, a command would put its file into the place of /dev/null, or its run into /."""
    for _, command in option_cases.commands():
        for option in (p for p in command.params if isinstance(p, click.Option)):
            absolute = {value for value in option_cases.odd_values(option) if value[:1] == "/"}
            assert absolute <= {"/proc/self/mem"}, option.name


@pytest.mark.parametrize(
    ("every", "processes", "cases"), [(97, 1, 40), pytest.param(11, 6, 350, marks=pytest.mark.slow)]
)
def test_odd_values_are_refused_in_one_line_or_legal(every, processes, cases, capsys):
    with pytest.raises(SystemExit) as ended:
        odd_options.main(["--every", str(every), "--processes", str(processes)])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    *_, last = out.splitlines()
    total, refused, usage, legal, interrupted, wrong = (int(cell) for cell in last.split("|")[2:-1])
    assert total == refused + usage + legal + interrupted > cases
    assert refused + usage > cases / 3 and min(refused, usage) > 0 and wrong == 0


@pytest.mark.parametrize(
    ("code", "error", "changed", "outcome"),
    [
        (0, "", True, "legal"),
        (1, "charlstm: no\n", False, "refused"),
        (1, "seed 5\ncharlstm: no\n", False, "refused"),
        (1, "charlstm: no\nmore\n", False, "unclear (1)"),
        (1, "", False, "unclear (1)"),
        (1, "charlstm: no\n", True, "refused, but something was written"),
        (1, "Traceback (most recent call last):\n", False, "traceback"),
        (2, "charlstm: no\n", False, "wrong usage"),
        (2, "charlstm: no\nmore\n", False, "unclear (2)"),
        (3, "charlstm: no\n", False, "unclear (3)"),
        (130, "\n", False, "interrupted"),
    ],
)
def test_the_outcome_follows_from_code_message_and_changes(code, error, changed, outcome):
    assert odd_options.judge(code, error, changed) == outcome


def test_a_failure_is_described_and_exits_with_1(monkeypatch, capsys):
    result = odd_options.Result(1, "Traceback ...\nValueError: no", "traceback")
    monkeypatch.setattr(odd_options, "run_here", lambda case: result)
    monkeypatch.setattr(
        odd_options, "cases", lambda only: [option_cases.Case(("cache",), ("--x",))]
    )
    with pytest.raises(SystemExit) as ended:
        odd_options.main(["--only", "cache", "--processes", "0"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "cache '--x': traceback\nTraceback ...\nValueError: no\n"


def test_each_case_belongs_to_one_command():
    names = [*(path[-1] for path, _ in option_cases.commands()), option_cases.NO_COMMAND]
    by_command = [case for name in names for case in option_cases.cases(name)]
    assert by_command == list(option_cases.cases())


def test_the_table_counts_failures():
    found = Counter({("train", "refused"): 2, ("train", "traceback"): 1, ("info", "legal"): 4})
    found["info", "wrong usage"] = 0
    assert odd_options.numbers(found) == {"refused in one line": 2, "legal": 4}
    lines = odd_options.summarise(found).splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert rows[2:] == [
        ["train", "3", "2", "0", "0", "0", "1"],
        ["info", "4", "0", "0", "4", "0", "0"],
        ["all", "7", "2", "0", "4", "0", "1"],
    ]
