"""Parameters: named views into one flat vector."""

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.network.parameters import Parameters

SHAPES = {"layers.0.W": (2, 3), "layers.0.b": (3,), "head.W": (3, 2)}


def test_arrays_lie_one_after_the_other_in_the_vector():
    p = Parameters(SHAPES, "float64")
    assert list(p) == list(SHAPES)
    p.vector[:] = np.arange(15)
    assert p["layers.0.W"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert p["layers.0.b"].tolist() == [6, 7, 8]
    assert p["head.W"].tolist() == [[9, 10], [11, 12], [13, 14]]


def test_both_ways_of_writing_change_the_vector():
    p = Parameters(SHAPES, "float32")
    p["layers.0.b"][...] = 2
    p["head.W"] = np.full((3, 2), 5.0)
    assert p.vector.tolist() == [0] * 6 + [2] * 3 + [5] * 6
    assert p.vector.dtype == np.float32


def test_wrong_names_and_shapes_are_refused_and_change_nothing():
    p = Parameters(SHAPES, "float32")
    with pytest.raises(CharlstmError, match=r"head.W must have the shape \(3, 2\), not \(2, 3\)"):
        p["head.W"] = np.ones((2, 3))
    with pytest.raises(CharlstmError, match=r"layers.0.b must have the shape \(3,\), not \(\)"):
        p["layers.0.b"] = 1.0
    refused = r"no parameter 'head.x': the parameters are layers.0.W"
    with pytest.raises(CharlstmError, match=refused):
        p["head.x"] = np.ones(2)
    assert not p.vector.any() and "head.x" not in p


def test_zeros_like_is_zero_and_shares_no_memory():
    p = Parameters(SHAPES, "float64")
    p.vector[:] = 1
    other = p.zeros_like()
    assert {n: a.shape for n, a in other.items()} == SHAPES and other.vector.dtype == np.float64
    assert not other.vector.any()
    other.vector[:] = 2
    assert (p.vector == 1).all()


def test_part_gives_views_under_the_rest_of_their_names():
    p = Parameters(SHAPES, "float32")
    part = p.part("layers.0.")
    assert list(part) == ["W", "b"]
    part["b"][1] = 4
    assert p.vector[7] == 4
