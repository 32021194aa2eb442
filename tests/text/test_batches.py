"""Batches: the characters that each stream or line reads, window after window, pass after pass."""

import json
from itertools import pairwise

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.seeds import generator
from charlstm.text.batches import (
    PADDING,
    LineBatches,
    StreamBatches,
    fit_batch,
    line_blocks,
    line_spans,
)


def streams_of(length, batch_size, seq_length, seed=0, recut=True):
    rng = generator(seed, "batches")
    return StreamBatches(np.arange(length, dtype=np.uint16), batch_size, seq_length, rng, recut)


@pytest.mark.parametrize(
    ("length", "batch_size", "seq_length", "expected"),
    [
        (1000, 10, 50, (10, 50)),
        (1000, 50, 50, (20, 50)),
        (49, 50, 50, (1, 48)),
        (3, 50, 50, (1, 2)),
        (2, 1, 50, (1, 1)),
    ],
)
def test_a_tiny_text_gets_fewer_streams_and_shorter_windows(
    length, batch_size, seq_length, expected
):
    assert fit_batch(length, batch_size, seq_length) == expected
    streams, steps = expected
    window = streams_of(length, batch_size, seq_length).next_window()
    assert window.shape == (steps + 1, streams)


@pytest.mark.parametrize("length", [0, 1])
def test_a_text_of_fewer_than_two_characters_is_refused(length):
    with pytest.raises(CharlstmError, match=f"a text of {length} characters? is too small"):
        streams_of(length, 1, 10)


def test_targets_follow_inputs_and_windows_follow_each_other():
    batches = streams_of(103, 4, 6)
    assert (batches.stream_length, batches.windows_per_pass) == (25, 4)
    offset = batches.offset
    for k in range(4):
        assert batches.begins_text.all() == batches.begins_text.any() == (k == 0)
        window = batches.next_window()
        for b in range(4):
            first = offset + 25 * b + 6 * k
            assert window[:, b].tolist() == [(first + t) % 103 for t in range(7)]
    assert batches.passes == 1 and batches.begins_text.all()


def test_a_pass_learns_nearly_all_places_and_none_twice():
    batches = streams_of(1000, 7, 9)
    seen = np.concatenate(
        [batches.next_window()[1:].ravel() for _ in range(batches.windows_per_pass)]
    )
    assert len(set(seen.tolist())) == len(seen) == 7 * 15 * 9


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize(
    ("length", "batch_size", "seq_length"),
    [(1000, 7, 9), (840, 7, 10), (101, 1, 100), (513, 16, 31)],
)
def test_a_pass_learns_all_but_the_ends_of_the_streams_once(length, batch_size, seq_length, recut):
    batches, passes = streams_of(length, batch_size, seq_length, recut=recut), 40
    learned = np.zeros(length, int)
    expected = np.zeros(length, int)
    for _ in range(passes):
        stream_length = length // batch_size
        complete_windows = stream_length // seq_length * seq_length
        for stream in range(batch_size):
            first = batches.offset + stream * stream_length + 1
            expected[np.arange(first, first + complete_windows) % length] += 1
        for _ in range(batches.windows_per_pass):
            np.add.at(learned, batches.next_window()[1:], 1)
    assert (learned == expected).all() and learned.max() <= passes
    left_out = length * passes - learned.sum()
    assert left_out < passes * batch_size * (seq_length + 1)
    if left_out == 0:
        assert set(learned) == {passes}
    else:
        assert bool(learned.min()) == recut  # without recut the same places are left out each time


def test_without_recut_all_passes_are_equal():
    batches = streams_of(1000, 5, 10, recut=False)
    one, two = ([batches.next_window() for _ in range(batches.windows_per_pass)] for _ in range(2))
    assert np.array_equal(one, two) and batches.offset == 0 and batches.passes == 2
    assert one[0][:, 0].tolist() == list(range(11))


def test_each_pass_has_a_new_offset():
    batches = streams_of(1000, 5, 10)
    offsets = set()
    for _ in range(5 * batches.windows_per_pass):
        offsets.add(batches.offset)
        batches.next_window()
    assert len(offsets) == 5 and batches.passes == 5


def test_equal_seeds_give_equal_windows():
    a, b, c = streams_of(999, 3, 8, 1), streams_of(999, 3, 8, 1), streams_of(999, 3, 8, 2)
    first = a.next_window()
    assert (first == b.next_window()).all() and (first != c.next_window()).any()


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize("done", [0, 1, 11, 12, 13, 40])
def test_streams_continue_from_any_saved_position(done, recut):
    batches = streams_of(500, 4, 10, 5, recut)
    for _ in range(done):
        batches.next_window()
    saved = json.loads(json.dumps(batches.to_dict()))
    expected = [batches.next_window() for _ in range(30)]
    other = streams_of(500, 4, 10, 99, recut)
    other.load_dict(saved)
    assert all((other.next_window() == window).all() for window in expected)
    assert (other.passes, other.offset) == (batches.passes, batches.offset)


def test_memory_mapped_ids_give_the_same_windows(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(250, dtype=np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    one = StreamBatches(mapped, 3, 7, generator(0, "batches"))
    two = StreamBatches(np.arange(250), 3, 7, generator(0, "batches"))
    for _ in range(20):
        assert (one.next_window() == two.next_window()).all()


TEXT = "ab\n\ncabc\nb\nabcabcabcabcabcabcab\nac"
LINES = ["ab\n", "cabc\n", "b\n", "abcabcabcabcabcabcab\n", "ac"]


def test_line_spans_are_the_lines_and_long_lines_are_cut():
    ids = np.frombuffer(TEXT.encode(), np.uint8)
    starts, stops = line_spans(ids, ord("\n"), 100)
    assert [TEXT[a:b] for a, b in zip(starts, stops, strict=True)] == LINES
    starts, stops = line_spans(ids, ord("\n"), 8)
    pieces = [TEXT[a:b] for a, b in zip(starts, stops, strict=True)]
    assert pieces == [*LINES[:3], "abcabcab", "cabcabca", "bcab\n", "ac"]


@pytest.mark.parametrize("size", [1, 2, 4, 8, 19, 20, 21, 100])
def test_blocks_are_of_complete_lines_and_a_long_line_is_one_by_itself(size):
    for text in (TEXT, TEXT + "\n", "\n\n", "abc", ""):
        ids = np.frombuffer(text.encode(), np.uint8)
        blocks = [text[a:b] for a, b in line_blocks(ids, ord("\n"), size)]
        assert "".join(blocks) == text
        lines = text.splitlines(keepends=True)
        assert [line for block in blocks for line in block.splitlines(keepends=True)] == lines
        assert all(len(block) <= size or block in lines for block in blocks)
        for block, following in pairwise(blocks):  # no line would have fitted as well
            assert len(block) + len(following.splitlines(keepends=True)[0]) > size


def test_an_empty_text_has_no_lines():
    starts, stops = line_spans(np.empty(0, np.uint8), ord("\n"), 8)
    assert len(starts) == len(stops) == 0


def test_a_window_holds_each_line_after_a_line_end_and_before_padding():
    ids = np.frombuffer(TEXT.encode(), np.uint8)
    lines = LineBatches(ids, ord("\n"), 2, 100, generator(0, "batches"))
    assert lines.windows_per_pass == 3 and lines.symbols_per_window == 33 / 3
    for _ in range(2):
        seen = []
        for _ in range(3):
            window = lines.next_window()
            assert window.shape[1] == 2
            for column in window.T:
                text = "".join(map(chr, column[1:][column[1:] != PADDING]))
                if text:
                    assert column[0] == ord("\n")
                    seen.append(text)
                    assert (column[len(text) + 1 :] == PADDING).all()
        assert sorted(seen) == sorted(LINES)
    assert lines.passes == 2


def test_lines_continue_from_a_position_saved_in_the_middle_of_a_pass():
    ids = np.frombuffer(TEXT.encode(), np.uint8)
    lines = LineBatches(ids, ord("\n"), 2, 100, generator(0, "batches"))
    for _ in range(4):
        lines.next_window()
    other = LineBatches(ids, ord("\n"), 2, 100, generator(9, "batches"))
    other.load_dict(lines.to_dict())
    for _ in range(5):
        assert (lines.next_window() == other.next_window()).all()
    assert other.passes == lines.passes == 3
