"""The text that commands read: its lines, and characters that a model does not know."""

import errno
import time
from pathlib import Path

import pytest

from charlstm import CharlstmError, Vocab
from charlstm.cli import text_input
from charlstm.cli.text_input import LONGEST_LINE, encode_on_disk, split_lines


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
    with pytest.raises(
        CharlstmError, match="a line has more than 4,194,304 characters: use charlstm"
    ):
        next(lines)
    assert len(read) == LONGEST_LINE // (1 << 18) + 1 and time.perf_counter() - began < 5


@pytest.mark.parametrize("size", [1, 2, 5, 1_000])
@pytest.mark.parametrize(
    ("vocab", "unknown"),
    [
        (Vocab.from_text("abcdé \n"), "skip"),
        (Vocab.from_text("abcdeé \n"), "replace"),
        (Vocab.from_characters(map(chr, range(300))), "error"),
        (Vocab.bytes(), "error"),
        (Vocab.from_words(["ab", "abc"]), "error"),
    ],
)
def test_ids_on_disk_equal_those_of_the_text_in_memory(vocab, unknown, size, capsys):
    text = "ab abc é\nabcab è\n\nd" * 3
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    ids = encode_on_disk(vocab, iter(pieces), unknown)
    if vocab.level == "byte":
        assert ids.tobytes() == text.encode("latin-1")
    else:
        assert ids.tolist() == vocab.encode(text, unknown).tolist()
    assert ids.dtype == vocab.dtype and not ids.flags.writeable
    assert capsys.readouterr().err.count("'è' is unknown") == (unknown != "error")
    assert encode_on_disk(vocab, iter(()), unknown).tolist() == []


def test_an_unknown_character_is_named_with_its_place_in_all_of_the_text():
    pieces = iter(["abab", "ab", "aéb"])
    with pytest.raises(CharlstmError, match=r"no 'é' \(U\+00E9\), found at position 7"):
        encode_on_disk(Vocab.from_text("ab"), pieces, "error")


def test_an_error_of_another_kind_than_a_full_disk_advises_another_folder_only(monkeypatch):
    def forbidden():
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(text_input, "TemporaryFile", forbidden)
    with pytest.raises(
        CharlstmError, match=r"\(Permission denied\): set TMPDIR to another folder$"
    ):
        encode_on_disk(Vocab.bytes(), iter(["text"]), "error")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_named(monkeypatch):
    full = Path("/dev/full").open("wb+")  # noqa: SIM115 (the function closes it)
    monkeypatch.setattr(text_input, "TemporaryFile", lambda: full)
    with pytest.raises(
        CharlstmError, match=r"\(No space left on device\): make room there, or set"
    ):
        encode_on_disk(Vocab.bytes(), iter(["text"]), "error")


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
