"""Random generators for each purpose, and their saved states."""

import json

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.seeds import generator, generator_to_dict, load_generator


def test_each_purpose_and_seed_has_numbers_of_its_own():
    draws = {
        (seed, purpose): tuple(generator(seed, purpose).random(4))
        for seed in (0, 1)
        for purpose in ("weights", "batches", "dropout", "sample")
    }
    assert len(set(draws.values())) == 8
    assert tuple(generator(0, "batches").random(4)) == draws[0, "batches"]
    assert generator(None, "sample").random() != generator(None, "sample").random()
    assert generator(np.int64(1), "batches").random(4).tolist() == list(draws[1, "batches"])


def test_a_state_survives_json():
    rng = generator(7, "dropout")
    rng.random(5, np.float32)  # an odd number of 32-bit draws leaves half a word in the state
    saved = json.loads(json.dumps(generator_to_dict(rng)))
    expected = rng.random(5, np.float32)
    other = generator(0, "sample")
    load_generator(other, saved)
    assert other.random(5, np.float32).tolist() == expected.tolist()


SAVED = generator_to_dict(generator(0, "batches"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (None, "bit_generator must be in a JSON object"),
        ([1], "bit_generator must be in a JSON object"),
        ({}, "bit_generator is missing"),
        (SAVED | {"bit_generator": "MT19937"}, "must be PCG64, not MT19937"),
        (SAVED | {"state": [1, 2]}, "state must be of type dict"),
        (SAVED | {"state": {"state": 1}}, "inc is missing"),
        (SAVED | {"state": {"state": 2**128, "inc": 1}}, "state must be a whole number from 0"),
        (SAVED | {"has_uint32": 2}, "has_uint32 must be a whole number from 0 to 1"),
        (SAVED | {"uinteger": -1}, "uinteger must be a whole number from 0"),
    ],
)
def test_another_kind_of_state_is_refused(state, message):
    with pytest.raises(CharlstmError, match=message):
        load_generator(generator(0, "batches"), state)


@pytest.mark.parametrize("seed", [-1, 1.5, "x"])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(CharlstmError, match="`seed` must be a whole number of 0 or more"):
        generator(seed, "sample")
