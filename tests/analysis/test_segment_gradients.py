"""Segments of a text, and the root mean square of their gradients."""

import numpy as np
import pytest
from corpus_files import make_text
from dynamic_models import make_model, random_ids

from charlstm import load
from charlstm.analysis import segment_gradients
from charlstm.analysis.segment_gradients import (
    PLACES,
    SEGMENTS_PER_PLACE,
    gradient_rms,
    own_text,
    rms_predictions,
    segments,
)
from charlstm.system.threads import Workers


@pytest.fixture(scope="module")
def small():
    return make_model()


def test_a_segment_starts_with_the_last_id_of_the_one_before(small):
    cut = list(segments(small, np.arange(12), 5))
    assert [(segment.tolist(), begins) for segment, begins in cut] == [
        ([0, 1, 2, 3, 4, 5], True),
        ([5, 6, 7, 8, 9, 10], False),
        ([10, 11], False),
    ]


def test_the_rms_is_that_of_the_gradients_of_all_segments(small):
    ids = random_ids(small, 6 * 5 + 3)
    state, squares = None, []
    for k in range(0, len(ids) - 1, 6):
        segment = ids[k : k + 7].astype(int)[:, None]
        _, gradients, state = small.loss_and_gradients(segment[:-1], segment[1:], state)
        squares.append(gradients.vector**2)
    expected = np.sqrt(np.mean(squares, axis=0))
    assert np.allclose(gradient_rms(small, ids, 6), expected, rtol=1e-12, atol=0)


def test_a_long_text_is_measured_in_places_from_all_over_it(small, monkeypatch):
    monkeypatch.setattr(segment_gradients, "PLACES", 3)
    monkeypatch.setattr(segment_gradients, "SEGMENTS_PER_PLACE", 2)
    ids = random_ids(small, 1_001)
    places = (0, 494, 988)
    squares = [gradient_rms(small, ids[p : p + 13], 6) ** 2 for p in places]
    expected = np.sqrt(np.mean(squares, axis=0))
    for workers in (1, 2, 4):
        counted = []
        pool = Workers(workers)
        rms = gradient_rms(small, ids, 6, workers=pool, advance=counted.append)
        pool.close()
        assert np.allclose(rms, expected, rtol=1e-12, atol=0)
        assert sum(counted) == 3 * 2 * 6 == rms_predictions(6)


def test_gradients_on_the_models_own_text_are_as_large_as_on_its_training_text(trained):
    model = load(trained)
    ids = own_text(model)
    assert ids.shape == (rms_predictions(),) == (PLACES * SEGMENTS_PER_PLACE * 20,)
    assert np.array_equal(ids, own_text(model))
    assert len(np.unique(ids)) > 5 and ids.max() < len(model.vocab)
    own = gradient_rms(model, ids)
    other = gradient_rms(model, model.vocab.encode(make_text(200)))
    large = other > other.mean()
    assert 0.5 < np.median(own[large] / other[large]) < 2
