"""Models and parameters that are pickled or copied, and what their repr shows."""

import copy
import multiprocessing
import pickle
import re

import numpy as np
import pytest

from charlstm import CharlstmError, CharModel, ModelConfig, TrainConfig, Trainer, Vocab

TEXT = "the cat sat on the mat\n" * 9
CONFIG = ModelConfig(hidden=5, layers=2, ngrams=3, ngram_slots=11, skip=True, capped=True)


@pytest.fixture
def model() -> CharModel:
    model = CharModel(CONFIG, Vocab.from_text(TEXT), seed=3)
    model.parameters["ngrams.W"] = np.random.default_rng(0).normal(size=(11, len(model.vocab)))
    return model


def copies(model):
    yield from (pickle.loads(pickle.dumps(model, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1))
    yield copy.copy(model)
    yield copy.deepcopy(model)


def test_a_copy_has_the_same_losses_and_shares_no_memory(model):
    losses = model.score(TEXT).nats
    for other in copies(model):
        assert (other.config, other.vocab) == (model.config, model.vocab)
        np.testing.assert_array_equal(other.score(TEXT).nats, losses)
        assert not any(
            np.shares_memory(model.parameters[n], other.parameters[n]) for n in other.parameters
        )
        other.parameters["layers.0.Wh"] += 1  # the copy's layers are views of its own vector
        assert (other.score(TEXT).nats != losses).any()
    np.testing.assert_array_equal(model.score(TEXT).nats, losses)


def bits_of(model: CharModel) -> float:
    return model.score(TEXT).bits_per_character


def test_a_model_can_be_sent_to_a_spawned_process(model):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(bits_of, (model,)) == bits_of(model)


def test_copied_parameters_write_into_their_own_vector(model):
    other = copy.deepcopy(model.parameters)
    np.testing.assert_array_equal(other.vector, model.parameters.vector)
    other["head.b"] = np.full(len(model.vocab), 7.0)
    assert (other.vector[-len(model.vocab) :] == 7).all()
    assert (model.parameters.vector[-len(model.vocab) :] != 7).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda config, vocab, arrays: arrays.pop("head.b"),
            "must have the parameters of its conf",
        ),
        (lambda config, vocab, arrays: arrays.update(more=np.zeros(3)), "and no others"),
        (lambda config, vocab, arrays: config.update(hidden=6), "must have the shape"),
        (lambda config, vocab, arrays: config.update(dtype="float64"), "must be of finite float64"),
        (lambda config, vocab, arrays: arrays["head.b"].fill(np.nan), "head.b must be of finite"),
        (lambda config, vocab, arrays: vocab.update(level="x"), "vocabulary"),
    ],
)
def test_a_pickle_whose_parts_do_not_fit_is_refused(model, change, message):
    rebuild, (config, vocab, arrays) = copy.deepcopy(model).__reduce__()
    change(config, vocab, arrays)
    with pytest.raises(CharlstmError, match=message):
        rebuild(config, vocab, arrays)


def test_repr_is_one_informative_line(model):
    assert repr(model) == (
        f"CharModel(2 layers of 5 LSTM units, 11 characters, {model.parameters.count:,} parameters)"
    )
    assert repr(model.vocab) == r"Vocab(11 characters: '\n', ' ', 'a', 'c', 'e', ...)"
    assert repr(Vocab.from_text("ab")) == "Vocab(2 characters: 'a', 'b')"
    shown = repr(model.score(TEXT))
    assert re.fullmatch(r"Score\('the cat sat.*\.\.\..*', [\d.]+ bits per character\)", shown)
    assert f"{model.score(TEXT).bits_per_character:.4g}" in shown
    config = TrainConfig(batch_size=2, seq_length=8, steps=1200, lr=0.01, workers=1)
    with Trainer(model, model.vocab.encode(TEXT), config) as trainer:
        trainer.step()
        assert repr(trainer) == (
            "Trainer(step 1 of 1,200, learning rate 0.01, 2 streams of 8 characters)"
        )


def test_a_score_is_equal_only_to_itself(model):
    score = model.score(TEXT)
    assert score != model.score(TEXT)
    assert score in {score}


def test_a_trainer_ends_its_threads_at_the_end_of_the_block(model):
    config = TrainConfig(batch_size=2, seq_length=8, steps=3, workers=2)
    with Trainer(model, model.vocab.encode(TEXT), config) as trainer:
        trainer.step()
    with pytest.raises(CharlstmError, match="`close` has ended the worker threads"):
        trainer.step()
