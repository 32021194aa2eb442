"""Saving a trainer: training continues bit for bit from any step."""

import copy
import json
import pickle

import pytest
from small_trainers import IDS, make_trainer

from charlstm import CharlstmError


def save(trainer):
    arrays = {name: array.copy() for name, array in trainer.arrays().items()}
    return arrays, json.loads(json.dumps(trainer.to_dict()))


def load(trainer, arrays, saved):
    trainer.load_arrays(arrays)
    trainer.load_dict(saved)


OPTIONS = [
    {"dropout": 0.3, "optimizer": "sgd", "beta1": 0.9},
    {"dropout": 0.3, "optimizer": "adam", "schedule": "cosine", "steps": 40, "warmup": 5},
    {"dropout": 0.3, "reset": 0.1, "average": 0.95, "workers": 2},
    {"optimizer": "rmsprop", "weight_decay": 0.1, "schedule": "plateau", "patience": 1},
    {"dropout": 0.1, "schedule": "step", "decay_every": 1, "workers": 2},
    {"recut": False, "average": 0.5},
    {"skip": True, "dropout": 0.2, "average": 0.9},
    {"dropout": 0.1, "dropout_between": 0.0, "weight_dropout": 0.4, "reset": 0.3, "workers": 2},
    {"schedule": "halve-on-rise", "lr": 1.0, "optimizer": "sgd"},
]


@pytest.mark.parametrize("after", [0, 1, 13, 31])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_loaded_trainer_continues_bit_for_bit_from_any_step(options, after):
    """A pass has 15 steps: 0, 1 and 13 lie in the first, 31 in the third."""
    first, losses = make_trainer(ids=IDS[:700], **options), []
    assert first.batches.windows_per_pass == 15
    for step in range(40):
        if step == after:
            arrays, saved = save(first)
            weights = first.model.parameters.vector.copy()
        losses.append(first.step())
        first.schedule.observe(losses[-1])
    other = make_trainer(ids=IDS[:700], **options)
    other.model.parameters.vector[:] = weights
    load(other, arrays, saved)
    assert other.steps_done == after
    for loss in losses[after:]:
        assert other.step() == loss
        other.schedule.observe(loss)
    assert other.model.parameters.vector.tobytes() == first.model.parameters.vector.tobytes()
    assert other.state.tobytes() == first.state.tobytes()
    assert (other.epoch, other.learning_rate) == (first.epoch, first.learning_rate)
    for name, moments in first.optimizer.moments.items():
        assert other.optimizer.moments[name].tobytes() == moments.tobytes()
    if first.averaged is not None:
        averages = [trainer.averaged.parameters.vector.tobytes() for trainer in (other, first)]
        assert averages[0] == averages[1]
    first.close()
    other.close()


def test_arrays_of_another_config_are_refused():
    arrays, saved = save(make_trainer(optimizer="sgd"))
    with pytest.raises(
        CharlstmError, match=r"the saved array moments\.mean is missing or of a wrong shape"
    ):
        load(make_trainer(optimizer="adam"), arrays, saved)
    arrays, saved = save(make_trainer())
    with pytest.raises(
        CharlstmError, match="the saved array average is missing or of a wrong shape"
    ):
        load(make_trainer(average=0.9), arrays, saved)
    arrays, saved = save(make_trainer(batch_size=4))
    with pytest.raises(CharlstmError, match="the saved array state is missing or of a wrong shape"):
        load(make_trainer(batch_size=5), arrays, saved)


@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_trainer_that_is_pickled_or_copied_says_how_to_save_it(copy_of):
    with (
        make_trainer() as trainer,
        pytest.raises(CharlstmError, match=r"a Trainer has threads.*arrays\(\) and to_dict\(\)"),
    ):
        copy_of(trainer)


def test_arrays_that_are_no_dict_are_refused():
    trainer = make_trainer()
    with pytest.raises(CharlstmError, match="`arrays` must be of type dict, not None"):
        trainer.load_arrays(None)
