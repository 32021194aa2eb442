"""Lanes: which characters each stream reads, window after window, pass after pass."""

import json

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.seeds import generator
from charlstm.text.batches import StreamBatches, fit_batch


def streams_of(length, count, window, seed=0, recut=True):
    rng = generator(seed, "batches")
    return StreamBatches(np.arange(length, dtype=np.uint16), count, window, rng, recut)


@pytest.mark.parametrize(
    ("length", "batch_size", "window", "expected"),
    [
        (1000, 10, 50, (10, 50)),
        (1000, 50, 50, (20, 50)),
        (49, 50, 50, (1, 48)),
        (3, 50, 50, (1, 2)),
        (2, 1, 50, (1, 1)),
    ],
)
def test_tiny_corpus_gets_fewer_streams_and_shorter_windows(length, batch_size, window, expected):
    assert fit_batch(length, batch_size, window) == expected
    count, steps = expected
    assert streams_of(length, batch_size, window).next_window().shape == (steps + 1, count)


@pytest.mark.parametrize("length", [0, 1])
def test_tiny_corpus_of_nothing_to_predict_is_a_clear_error(length):
    with pytest.raises(CharlstmError, match=f"a text of {length} characters is too small to learn"):
        streams_of(length, 1, 10)


def test_targets_follow_inputs_and_windows_follow_each_other():
    batches = streams_of(103, 4, 6)
    assert (batches.stream_length, batches.windows_per_pass) == (25, 4)
    offset = batches.offset
    for k in range(4):
        assert batches.starts_afresh == (k == 0)
        window = batches.next_window()
        for b in range(4):
            first = offset + 25 * b + 6 * k
            assert window[:, b].tolist() == [(first + t) % 103 for t in range(7)]
    assert batches.passes == 1 and batches.starts_afresh


def test_a_pass_reads_each_place_at_most_once_and_nearly_all():
    batches = streams_of(1000, 7, 9)
    seen = np.concatenate(
        [batches.next_window()[1:].ravel() for _ in range(batches.windows_per_pass)]
    )
    assert len(set(seen.tolist())) == len(seen) == 7 * 15 * 9


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize(
    ("length", "count", "window"), [(1000, 7, 9), (840, 7, 10), (101, 1, 100), (513, 16, 31)]
)
def test_how_often_each_place_is_learned(length, count, window, recut):
    """Exactly once a pass, but for the ends of the batch_size: those of a pass are as counted here."""
    batches, passes = streams_of(length, count, window, recut=recut), 40
    learned = np.zeros(length, int)
    expected = np.zeros(length, int)
    for _ in range(passes):
        for stream in range(count):
            first = batches.offset + stream * (length // count) + 1
            whole_windows = length // count // window * window
            expected[np.arange(first, first + whole_windows) % length] += 1
        for _ in range(batches.windows_per_pass):
            np.add.at(learned, batches.next_window()[1:], 1)
    assert (learned == expected).all() and learned.max() <= passes
    left_out = length * passes - learned.sum()
    assert left_out < passes * count * (window + 1)
    if left_out == 0:
        assert set(learned) == {passes}
    else:
        assert bool(learned.min()) == recut  # without it always the same places


def test_without_recut_each_pass_is_as_the_first():
    batches = streams_of(1000, 5, 10, recut=False)
    one, two = ([batches.next_window() for _ in range(batches.windows_per_pass)] for _ in range(2))
    assert np.array_equal(one, two) and batches.offset == 0 and batches.passes == 2
    assert one[0][:, 0].tolist() == list(range(11))


def test_each_pass_is_cut_elsewhere():
    batches = streams_of(1000, 5, 10)
    offsets = set()
    for _ in range(5 * batches.windows_per_pass):
        offsets.add(batches.offset)
        batches.next_window()
    assert len(offsets) == 5 and batches.passes == 5


def test_seed_fixes_the_order():
    a, b, c = streams_of(999, 3, 8, 1), streams_of(999, 3, 8, 1), streams_of(999, 3, 8, 2)
    first = a.next_window()
    assert (first == b.next_window()).all() and (first != c.next_window()).any()


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize("done", [0, 1, 11, 12, 13, 40])
def test_goes_on_from_any_saved_position(done, recut):
    batches = streams_of(500, 4, 10, 5, recut)
    for _ in range(done):
        batches.next_window()
    saved = json.loads(json.dumps(batches.to_dict()))
    expected = [batches.next_window() for _ in range(30)]
    other = streams_of(500, 4, 10, 99, recut)
    other.load_dict(saved)
    assert all((other.next_window() == window).all() for window in expected)
    assert (other.passes, other.offset) == (batches.passes, batches.offset)


def test_reads_memory_mapped_ids(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(250, dtype=np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    one = StreamBatches(mapped, 3, 7, generator(0, "batches"))
    two = StreamBatches(np.arange(250), 3, 7, generator(0, "batches"))
    for _ in range(20):
        assert (one.next_window() == two.next_window()).all()
