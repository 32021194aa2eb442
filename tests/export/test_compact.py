"""Weights in fewer bits: how near they are to the original ones, and what their bytes hold."""

from dataclasses import replace

import numpy as np
import pytest
from gate_pages import make_model

import charlstm
from charlstm.export.compact import LARGEST_FLOAT16, WEIGHTS, compact


def model_with_a_table():
    model = charlstm.CharModel(
        charlstm.ModelConfig(hidden=5, layers=2, skip=True, ngrams=3, ngram_slots=37),
        charlstm.Vocab.from_text("abc\n"),
        seed=1,
    )
    table = model.parameters["ngrams.W"]
    table[::3] = np.random.default_rng(0).normal(0, 0.5, table[::3].shape)
    return model


@pytest.mark.parametrize("weights", WEIGHTS)
def test_stored_weights_are_as_near_as_their_bits_allow(weights):
    model = model_with_a_table()
    stored = compact(model, weights).model
    for name, array in model.parameters.items():
        largest = np.abs(array).max(axis=-1, keepdims=True)
        steps = {"ngrams.W": 31}.get(name, 127)
        if weights == "float32" or (weights == "int8" and array.ndim == 1):
            error = 0
        else:
            error = 2.0**-11 if weights == "float16" else 0.5 / steps + 2.0**-11
        difference = np.abs(stored.parameters[name] - array)
        assert (difference <= error * largest + 1e-7).all(), name
        assert (stored.parameters[name][~array.any(axis=-1)] == 0).all()
    assert stored.config == model.config


def test_bytes_of_a_matrix_without_its_rows_of_zeros():
    model = model_with_a_table()
    table, encoded = model.parameters["ngrams.W"], compact(model, "int8").arrays["ngrams.W"]
    rows, columns = np.count_nonzero(table.any(axis=1)), table.shape[1]
    mask, scales = encoded[:5], np.frombuffer(encoded[5 : 5 + 2 * rows], "<f2")
    assert np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[:37].tolist() == (
        [1, 0, 0] * 12 + [1]
    )
    numbers = np.frombuffer(encoded[5 + 2 * rows :], np.int8).reshape(columns, rows).T
    assert np.abs(numbers).max(axis=1).tolist() == [31] * rows
    assert np.allclose(numbers * scales[:, None].astype(float), table[::3], atol=0.04)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_extreme_weights_stay_finite(weights):
    model = make_model(hidden=3, layers=1)
    Wh = model.parameters["layers.0.Wh"]
    Wh[0], Wh[1], Wh[2] = 1e30, 1e-30, 0
    stored = compact(model, weights).model.parameters["layers.0.Wh"]
    assert np.isfinite(stored).all() and (stored[0] >= LARGEST_FLOAT16).all()
    assert (np.abs(stored[1:]) <= 2e-30).all()


def test_a_model_of_float64_is_stored_in_float32():
    model = make_model(hidden=3)
    stored = compact(model, "float32").model
    assert stored.config == replace(model.config, dtype="float32")
    assert np.allclose(stored.parameters.vector, model.parameters.vector, rtol=1e-7)
