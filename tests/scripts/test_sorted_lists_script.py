"""sorted_lists.py: its losses are those of runs on a list in two orders; no run is repeated."""

import random

import pytest
import sorted_lists as script

LINES = sorted(f"{first}{second}a" for first in "bcdfghklmnprst" for second in "aeiou")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(script, "SHAPE", {"hidden": 8, "workers": 1})
    monkeypatch.setattr(script, "lines_of_list", lambda name: list(LINES))


def test_each_run_adds_a_row_once_and_the_summary_compares_the_orders(
    tmp_path, monkeypatch, capsys
):
    trained, real = [], script.charlstm.train

    def train(text, run, **options):
        trained.append((text.read_text(encoding="utf-8").split(), options))
        return real(text, run, **options)

    monkeypatch.setattr(script.charlstm, "train", train)
    table = tmp_path / "t.tsv"
    arguments = ["--lists", "names", "--seeds", "0", "3", "--steps", "4", "--table", str(table)]
    script.main(arguments)
    first = capsys.readouterr().out
    shuffled = list(LINES)
    random.Random(3).shuffle(shuffled)
    assert [lines for lines, options in trained if options["seed"] == 3] == [LINES, shuffled] * 2
    read = [(options["lines"], options["seed"], options["steps"]) for _, options in trained]
    assert read == [(lines, seed, 4) for lines in (True, False) for seed in (0, 0, 3, 3)]
    results = script.read_results(table)
    first_two = [("names", "--lines", order, 0) for order in ("sorted", "random")]
    assert [result[:4] for result in results[:2]] == first_two
    rows = [[cell.strip() for cell in line.split("|")[1:]] for line in first.splitlines()[2:]]
    assert [row[:2] for row in rows] == [["names", "--lines"], ["names", "one text"]]
    for row, group in zip(rows, (results[:4], results[4:]), strict=True):
        ours, theirs = (group[0].nats + group[2].nats) / 2, (group[1].nats + group[3].nats) / 2
        assert row[2:5] == [f"{ours:.3f}", f"{theirs:.3f}", f"{100 * (ours / theirs - 1):+.1f} %"]
        assert row[5].endswith(f", {100 * (group[2].nats / group[3].nats - 1):+.1f} %")
    script.main(arguments)
    script.main(["--print", "--table", str(table)])
    assert capsys.readouterr().out == first * 2 and len(trained) == 8


def test_a_list_is_sorted_and_has_no_line_twice(monkeypatch, tmp_path):
    monkeypatch.undo()
    text = tmp_path / "text.txt"
    text.write_text("the cat, the Dog\nand the cat's", encoding="utf-8")
    monkeypatch.setattr(script, "find_text", lambda name: text)
    assert script.lines_of_list("words") == ["Dog", "and", "cat", "s", "the"]
    monkeypatch.setattr(script, "names", lambda kilobytes: b"write\nread\nseek\n")
    assert script.lines_of_list("names") == ["read", "seek", "write"]
