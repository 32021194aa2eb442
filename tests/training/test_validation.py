"""The evaluations of a run: which is the best, and on how much text."""

import json

import numpy as np
import pytest

from charlstm import CharlstmError
from charlstm.training.validation import Evaluation, Validation


def filled(*losses):
    validation = Validation(np.zeros(10, np.uint8))
    return validation, [
        validation.record_and_compare(Evaluation(10 * k, 2.0, loss))
        for k, loss in enumerate(losses, 1)
    ]


def test_the_best_evaluation_and_the_number_since_it():
    validation, bests = filled(3.0, 2.0, 2.5, 2.0, 1.5, 1.6)
    assert bests == [True, True, False, False, True, False]
    assert validation.evaluations_since_best == 1
    assert validation.best == Evaluation(50, 2.0, 1.5)
    assert (validation.val_loss, validation.best_val_loss) == (1.6, 1.5)


@pytest.mark.parametrize("losses", [(), (3.0, 2.0, 2.5, 2.7)])
def test_a_loaded_validation_continues_from_the_saved_evaluations(losses):
    validation, _ = filled(*losses)
    other, _ = filled(9.0)
    other.load_dict(json.loads(json.dumps(validation.to_dict())))
    assert other.evaluations == validation.evaluations
    assert (
        other.evaluations_since_best == validation.evaluations_since_best == max(0, len(losses) - 2)
    )
    assert other.best_val_loss == (2.0 if losses else None)


@pytest.mark.parametrize(("length", "can_evaluate"), [(0, False), (1, False), (2, True)])
def test_a_text_of_one_character_has_nothing_to_predict(length, can_evaluate):
    validation = Validation(np.zeros(length, np.uint8))
    assert validation.can_evaluate == can_evaluate
    assert (validation.best, validation.val_loss, validation.best_val_loss) == (None, None, None)
    if not can_evaluate:
        assert validation.evaluate({}, None) == {}


def test_a_million_symbols_of_a_long_text_are_evaluated():
    assert len(Validation(np.zeros(3_000_000, np.uint8)).ids) == 1_000_000


def test_a_shortened_text_keeps_its_length():
    validation = Validation(np.arange(5_000, dtype=np.uint16))
    for most, left in ((9_000, 5_000), (3_000, 3_000), (4_000, 3_000), (2, 1_000)):
        validation.shorten(most)
        assert validation.ids.tolist() == list(range(left))
    other = Validation(np.arange(5_000, dtype=np.uint16))
    other.load_dict(json.loads(json.dumps(validation.to_dict())))
    assert len(other.ids) == 1_000


def test_a_saved_length_that_leaves_nothing_is_refused():
    saved = Validation(np.arange(50, dtype=np.uint16)).to_dict() | {"characters": 0}
    with pytest.raises(CharlstmError, match="characters must be a whole number from 1 "):
        Validation(np.arange(50, dtype=np.uint16)).load_dict(saved)
    Validation(np.empty(0, np.uint16)).load_dict(saved)


def test_a_shortened_text_keeps_the_beginning_of_each_part():
    ids, starts = np.arange(5_000, dtype=np.uint16), np.array([0, 1_000, 4_000])
    validation, other = Validation(ids, None, starts), Validation(ids, None, starts)
    for most, sizes in ((9_000, [1_000, 3_000, 1_000]), (2_000, [400, 1_200, 400])):
        validation.shorten(most)
        parts = np.split(validation.ids, validation.starts[1:])
        assert [len(part) for part in parts] == sizes
        assert [part[0] for part in parts] == [0, 1_000, 4_000]
    other.load_dict(json.loads(json.dumps(validation.to_dict())))
    assert other.ids.tolist() == validation.ids.tolist()
    assert other.starts.tolist() == validation.starts.tolist()
    assert not Validation(ids[:2], None, np.arange(2)).can_evaluate


def test_a_shortened_text_of_empty_lines_has_nothing_to_predict():
    validation = Validation(np.array([0] * 1_000 + [1], np.uint8), line_end=0)
    assert validation.can_evaluate
    validation.shorten(1_000)
    assert not validation.can_evaluate and validation.evaluate({}, None) == {}


@pytest.mark.parametrize(
    ("ids", "line_end", "can_evaluate"),
    [([5], None, False), ([0, 0], None, True), ([0, 0], 0, False), ([5], 0, True), ([], 0, False)],
)
def test_evaluation_is_possible_if_there_is_something_to_predict(ids, line_end, can_evaluate):
    assert Validation(np.array(ids, np.uint8), line_end).can_evaluate == can_evaluate
