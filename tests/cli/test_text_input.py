"""The text that commands read: its lines, and characters that a model does not know."""

import time

import pytest

from charlstm import CharlstmError
from charlstm.cli.text_input import LONGEST_LINE, split_lines


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_lines_do_not_depend_on_the_pieces_of_the_text(size):
    text = "ab\r\n\n\ncde\rf\n" + "g" * 20 + "\nh"
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    expected = ["ab", "", "", "cde\rf", "g" * 20, "h"]
    for more in ([], ["\n"]):
        groups = list(split_lines(iter([*pieces, *more])))
        assert [line for lines in groups for line in lines] == expected and all(groups)


def test_lines_come_with_the_piece_that_completes_them():
    pieces = iter(["ab\nc", "d", "e\nf\ng", "\nrest"])
    assert list(split_lines(pieces)) == [["ab"], ["cde", "f"], ["g"], ["rest"]]


def test_a_very_long_line_is_refused_before_all_of_it_is_read():
    began, read = time.perf_counter(), []

    def pieces():
        yield "first\n"
        for k in range(4000):  # a gigabyte
            read.append(k)
            yield "x" * (1 << 18)

    lines = split_lines(pieces())
    assert next(lines) == ["first"]
    with pytest.raises(CharlstmError, match="a line of more than 4,194,304 characters: charlstm"):
        next(lines)
    assert len(read) == LONGEST_LINE // (1 << 18) + 1 and time.perf_counter() - began < 5


def test_each_character_left_out_is_reported_once(cli, trained, tmp_path):
    (tmp_path / "t.txt").write_text("the cät sees ä dög")
    for arguments in (
        ("eval", tmp_path / "t.txt"),
        ("score", tmp_path / "t.txt"),
        ("sample", "--seed", 1, "--length", 5, "--prime", "the cät, ä dög"),
    ):
        warnings = cli(*arguments, "-r", trained, "--unknown", "skip").stderr.splitlines()
        for letter in "äö":
            assert warnings.count(f"{letter!r} is unknown to the model: left out") == 1
