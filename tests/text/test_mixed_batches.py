"""Batches of two texts: columns of both, passes of the first, positions of both when resumed."""

import json

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.seeds import generator
from charlstm.text.batches import PADDING, LineBatches, StreamBatches
from charlstm.text.mixed_batches import MixedBatches, fit_mixed_batch, mixed_size


def streams(first, length, columns, steps, number=0):
    ids = first + np.arange(length, dtype=np.uint16)
    return StreamBatches(ids, columns, steps, generator(0, "batches", number))


def mixed():
    """Three streams of a text of 60 symbols from 0, two of one of 1,000 + 30, in windows of 5."""
    return MixedBatches(streams(0, 60, 3, 5), streams(1000, 30, 2, 5, 1))


def test_each_column_is_that_of_its_own_text():
    batches, first, second = mixed(), streams(0, 60, 3, 5), streams(1000, 30, 2, 5, 1)
    assert (batches.batch_size, batches.seq_length, batches.share) == (5, 5, 0.4)
    assert batches.symbols_per_window == 25 and batches.windows_per_pass == 4
    for k in range(12):
        begins = [*first.begins_text, *second.begins_text]
        assert begins == [k % 4 == 0] * 3 + [k % 3 == 0] * 2
        assert batches.begins_text.tolist() == begins
        window = batches.next_window()
        assert (window[:, :3] == first.next_window()).all()
        assert (window[:, 3:] == second.next_window()).all()
        assert (batches.passes, batches.windows_done) == ((k + 1) // 4, (k + 1) % 4)


@pytest.mark.parametrize("windows", range(9))
def test_a_saved_position_continues_in_both_texts(windows):
    batches, again = mixed(), mixed()
    for _ in range(windows):
        batches.next_window()
    again.load_dict(json.loads(json.dumps(batches.to_dict())))
    for _ in range(9):
        assert again.begins_text.tolist() == batches.begins_text.tolist()
        assert (again.next_window() == batches.next_window()).all()
        assert (again.passes, again.windows_done) == (batches.passes, batches.windows_done)


def test_the_shorter_of_two_windows_of_lines_is_padded():
    short, long = np.array([1, 0] * 6), np.array([2] * 20 + [0])
    lines = (LineBatches(short, 0, 2, 32, generator(0, "batches")),
             LineBatches(long, 0, 1, 32, generator(0, "batches", 1)))  # fmt: skip
    window = MixedBatches(*lines).next_window()
    assert window.shape == (33, 3)
    assert window[:, 0].tolist() == window[:, 1].tolist() == [0, 1, 0] + [PADDING] * 30
    assert window[:, 2].tolist() == [0] + [2] * 20 + [0] + [PADDING] * 11


@pytest.mark.parametrize(
    ("lengths", "size", "steps", "share", "expected"),
    [
        ((1000, 1000), 24, 10, 0.25, (18, 6, 10)),
        ((1000, 1000), 24, 10, 0.01, (23, 1, 10)),
        ((1000, 1000), 24, 10, 0.99, (1, 23, 10)),
        ((50, 1000), 24, 10, 0.25, (5, 6, 10)),
        ((1000, 8), 24, 10, 0.25, (18, 1, 7)),
        ((5, 1000), 24, 10, 0.25, (1, 6, 4)),
    ],
)
def test_both_texts_get_columns_and_equal_windows(lengths, size, steps, share, expected):
    first, second, length = fit_mixed_batch(lengths, size, steps, share)
    assert (first, second, length) == expected
    # A resumed run has the sizes that were fitted, and fits them again.
    fitted = second / (first + second)
    assert fit_mixed_batch(lengths, first + second, length, fitted) == expected


def test_one_column_is_too_few_for_two_texts():
    with pytest.raises(CharlstmError, match="`mix` needs a `batch_size` of 2 or more"):
        mixed_size(1, 0.5)
