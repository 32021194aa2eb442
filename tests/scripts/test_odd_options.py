"""scripts/odd_options: some of the cases, and that it sees what is wrong."""

from collections import Counter

import click
import odd_options as odd
import pytest

from charlstm.cli.main import main


def test_every_option_is_tried_by_itself_and_with_every_other():
    tried = list(odd.cases())
    for path, command in odd.commands(main):
        own = [case.arguments for case in tried if case.command == path]
        options = [p for p in command.params if isinstance(p, click.Option)]
        for option in options:
            assert any(a[-1].split("=")[0] == option.opts[-1] for a in own), option.name
        for one in options:
            for other in options[options.index(one) + 1 :]:
                assert any({one.opts[0], other.opts[0]} <= set(a) for a in own)


def test_odd_values_are_refused_in_one_line_or_legal(capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        odd.main(["--every", "41", "--processes", "3"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    *_, last = out.splitlines()
    _, cases, refused, usage, legal, interrupted, wrong = (c.strip() for c in last.split("|")[1:-1])
    assert int(cases) == int(refused) + int(usage) + int(legal) + int(interrupted) > 80
    assert int(refused) > 20 and int(usage) > 15 and wrong == "0"


USAGE = "Usage: charlstm train\nTry 'charlstm train -h' for help.\n\nError: no\n"


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
        (2, USAGE, False, "wrong usage"),
        (2, USAGE + "more\n", False, "unclear"),
        (3, "charlstm: no\n", False, "unclear (3)"),
        (130, "\n", False, "interrupted"),
    ],
)
def test_how_a_command_must_end(code, error, changed, outcome):
    assert odd.judge(code, error, changed) == outcome


def test_the_table_counts_what_is_wrong():
    found = Counter({("train", "refused"): 2, ("train", "traceback"): 1, ("info", "legal"): 4})
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in odd.summary(found).splitlines()]
    assert rows[2:] == [
        ["train", "3", "2", "0", "0", "0", "1"],
        ["info", "4", "0", "0", "4", "0", "0"],
        ["all", "7", "2", "0", "4", "0", "1"],
    ]
