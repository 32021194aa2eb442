"""Lanes: which characters each lane reads, window after window, pass after pass."""

import json

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.batches import Lanes, fit_lanes
from charlstm.randomness import generator


def lanes_of(length, count, window, seed=0, recut=True):
    rng = generator(seed, "lanes")
    return Lanes(np.arange(length, dtype=np.uint16), count, window, rng, recut)


@pytest.mark.parametrize(
    ("length", "lanes", "window", "expected"),
    [
        (1000, 10, 50, (10, 50)),
        (1000, 50, 50, (20, 50)),
        (49, 50, 50, (1, 48)),
        (3, 50, 50, (1, 2)),
        (2, 1, 50, (1, 1)),
    ],
)
def test_tiny_corpus_gets_fewer_lanes_and_shorter_windows(length, lanes, window, expected):
    assert fit_lanes(length, lanes, window) == expected
    count, steps = expected
    assert lanes_of(length, lanes, window).next_window().shape == (steps + 1, count)


@pytest.mark.parametrize("length", [0, 1])
def test_tiny_corpus_of_nothing_to_predict_is_a_clear_error(length):
    with pytest.raises(CharlstmError, match=f"a text of {length} characters is too small to learn"):
        lanes_of(length, 1, 10)


def test_targets_follow_inputs_and_windows_follow_each_other():
    lanes = lanes_of(103, 4, 6)
    assert (lanes.lane_length, lanes.windows_per_pass) == (25, 4)
    offset = lanes.offset
    for k in range(4):
        assert lanes.starts_afresh == (k == 0)
        window = lanes.next_window()
        for b in range(4):
            first = offset + 25 * b + 6 * k
            assert window[:, b].tolist() == [(first + t) % 103 for t in range(7)]
    assert lanes.passes == 1 and lanes.starts_afresh


def test_a_pass_reads_each_place_at_most_once_and_nearly_all():
    lanes = lanes_of(1000, 7, 9)
    seen = np.concatenate([lanes.next_window()[1:].ravel() for _ in range(lanes.windows_per_pass)])
    assert len(set(seen.tolist())) == len(seen) == 7 * 15 * 9


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize(
    ("length", "count", "window"), [(1000, 7, 9), (840, 7, 10), (101, 1, 100), (513, 16, 31)]
)
def test_how_often_each_place_is_learned(length, count, window, recut):
    """Exactly once a pass, but for the ends of the lanes: those of a pass are as counted here."""
    lanes, passes = lanes_of(length, count, window, recut=recut), 40
    learned = np.zeros(length, int)
    expected = np.zeros(length, int)
    for _ in range(passes):
        for lane in range(count):
            first = lanes.offset + lane * (length // count) + 1
            whole_windows = length // count // window * window
            expected[np.arange(first, first + whole_windows) % length] += 1
        for _ in range(lanes.windows_per_pass):
            np.add.at(learned, lanes.next_window()[1:], 1)
    assert (learned == expected).all() and learned.max() <= passes
    left_out = length * passes - learned.sum()
    assert left_out < passes * count * (window + 1)
    if left_out == 0:
        assert set(learned) == {passes}
    else:
        assert bool(learned.min()) == recut  # without it always the same places


def test_without_recut_each_pass_is_as_the_first():
    lanes = lanes_of(1000, 5, 10, recut=False)
    one, two = ([lanes.next_window() for _ in range(lanes.windows_per_pass)] for _ in range(2))
    assert np.array_equal(one, two) and lanes.offset == 0 and lanes.passes == 2
    assert one[0][:, 0].tolist() == list(range(11))


def test_each_pass_is_cut_elsewhere():
    lanes = lanes_of(1000, 5, 10)
    offsets = set()
    for _ in range(5 * lanes.windows_per_pass):
        offsets.add(lanes.offset)
        lanes.next_window()
    assert len(offsets) == 5 and lanes.passes == 5


def test_seed_fixes_the_order():
    a, b, c = lanes_of(999, 3, 8, 1), lanes_of(999, 3, 8, 1), lanes_of(999, 3, 8, 2)
    first = a.next_window()
    assert (first == b.next_window()).all() and (first != c.next_window()).any()


@pytest.mark.parametrize("recut", [True, False])
@pytest.mark.parametrize("done", [0, 1, 11, 12, 13, 40])
def test_goes_on_from_any_saved_position(done, recut):
    lanes = lanes_of(500, 4, 10, 5, recut)
    for _ in range(done):
        lanes.next_window()
    saved = json.loads(json.dumps(lanes.state()))
    expected = [lanes.next_window() for _ in range(30)]
    other = lanes_of(500, 4, 10, 99, recut)
    other.restore(saved)
    assert all((other.next_window() == window).all() for window in expected)
    assert (other.passes, other.offset) == (lanes.passes, lanes.offset)


def test_reads_memory_mapped_ids(tmp_path):
    np.save(tmp_path / "ids.npy", np.arange(250, dtype=np.uint8))
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    one = Lanes(mapped, 3, 7, generator(0, "lanes"))
    two = Lanes(np.arange(250), 3, 7, generator(0, "lanes"))
    for _ in range(20):
        assert (one.next_window() == two.next_window()).all()
