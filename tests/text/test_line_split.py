"""The split of lines: what is drawn, which lines stay together, and where borders fall."""

import random

import numpy as np
import pytest

from charlstm.text import line_hashes
from charlstm.text.line_split import border_between_lines, split_by_lines

LINES = [f"name {number}" for number in range(500)]


def ids_of(text):
    return np.frombuffer(text.encode(), np.uint8)


def split(text, fraction=0.1, seed=0):
    parts = split_by_lines(ids_of(text), ord("\n"), fraction, seed)
    return tuple(part.tobytes().decode() for part in parts)


def test_lines_are_drawn_from_the_whole_text_and_keep_their_order():
    text = "\n".join(sorted(LINES)) + "\n"
    train, held_out = split(text)
    assert 0.09 * len(text) < len(held_out) <= 0.1 * len(text)
    own, others = train.splitlines(), held_out.splitlines()
    assert sorted(own + others) == sorted(LINES)
    assert own == sorted(own) and others == sorted(others)
    places = [sorted(LINES).index(line) for line in others]
    assert min(places) < 60 and max(places) > 440


def test_a_sorted_and_a_shuffled_list_hold_out_the_same_lines():
    shuffled = list(LINES)
    random.Random(0).shuffle(shuffled)
    for seed in range(3):
        ours, theirs = (
            split("\n".join(lines) + "\n", seed=seed)[1].splitlines()
            for lines in (sorted(LINES), shuffled)
        )
        assert ours != theirs and sorted(ours) == sorted(theirs)


def test_equal_lines_are_on_one_side_also_the_last_without_a_line_end():
    text = "\n".join(LINES * 2 + [""] * 7 + LINES)
    for seed in range(5):
        train, held_out = (set(part.splitlines()) for part in split(text, 0.3, seed))
        assert not train & held_out and len(held_out) > 100


def test_the_seed_chooses_the_lines_and_the_size_of_blocks_does_not(monkeypatch):
    text = "\n".join(LINES)
    assert split(text) == split(text)
    assert len({split(text, seed=seed)[1] for seed in (0, 1, 1 << 64, (1 << 128) - 1)}) == 4
    expected = split(text)
    for size in (1, 100):
        monkeypatch.setattr(line_hashes, "BLOCK_SYMBOLS", size)
        assert split(text) == expected


@pytest.mark.parametrize(
    ("text", "fraction", "held_out"),
    [("", 0.1, 0), ("a\n", 0.5, 0), ("a\na\n", 0.5, 0), ("a\nb\n", 0.1, 2), ("a\nb\n", 0.9, 2),
     ("\n\n\na\nb\n\n", 0.1, 2), ("a\nb\n", 0.0, 0), ("\n\n", 0.5, 0)],
)  # fmt: skip
def test_small_texts(text, fraction, held_out):
    train, other = split(text, fraction)
    assert (len(other), len(train)) == (held_out, len(text) - held_out)


@pytest.mark.parametrize("block", [1, 2, 100])
def test_a_border_falls_between_two_lines(monkeypatch, block):
    monkeypatch.setattr("charlstm.text.line_split.BLOCK_SYMBOLS", block)
    found = [border_between_lines(ids_of("abc\nde\n\nf"), ord("\n"), k) for k in range(10)]
    assert found == [4, 4, 4, 4, 4, 4, 4, 7, 8, 9]
    assert border_between_lines(ids_of("abc"), ord("\n"), 1) == 3
