"""charlstm.evaluate: the figures of a text, as the command line gives them and by definition."""

import inspect
import math

import numpy as np
import pytest
from corpus_files import make_text
from stepwise_losses import losses_in_nats

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, evaluate
from charlstm.analysis.dynamic_evaluation import DynamicConfig

TEXT = make_text(30, seed=5)


@pytest.fixture(scope="module")
def model():
    return CharModel(ModelConfig(hidden=6, ngrams=3), Vocab.from_text(TEXT), seed=1)


def test_the_figures_of_a_text_are_those_of_its_losses(model):
    result, nats = evaluate(model, TEXT, batch_size=1), losses_in_nats(model, TEXT)
    assert result.characters == result.bytes == len(TEXT) - 1 == len(nats)
    assert result.nats_per_character == pytest.approx(np.mean(nats), rel=1e-5)
    assert result.bits_per_character == result.bits_per_byte
    assert result.perplexity == pytest.approx(math.exp(np.mean(nats)), rel=1e-5)
    assert repr(result) == (
        f"Evaluation({np.mean(nats) / math.log(2):.4f} bits per character, {len(nats):,} "
        "characters)"
    )
    cold = evaluate(model, TEXT, window=16)
    parts = [losses_in_nats(model, TEXT[k : k + 17]) for k in range(0, len(TEXT) - 1, 16)]
    assert cold.nats_per_character == pytest.approx(np.mean(np.concatenate(parts)), rel=1e-5)
    assert repr(cold).endswith(" characters, window 16)")


def test_the_number_of_threads_does_not_change_the_loss(model):
    one, two = (evaluate(model, TEXT, workers=n).nats_per_character for n in (1, 2))
    assert one == pytest.approx(two, rel=1e-6)


def test_the_weights_stay_as_they_are_after_dynamic_evaluation(model):
    before = model.parameters.vector.copy()
    usual, dynamic = evaluate(model, TEXT), evaluate(model, TEXT, dynamic=True)
    assert dynamic.nats_per_character < usual.nats_per_character
    assert np.array_equal(before, model.parameters.vector)
    still = evaluate(
        model, TEXT, dynamic=True, dynamic_rate=0, dynamic_ngram_lr=0, dynamic_match=0, workers=1
    )
    one_stream = evaluate(model, TEXT, batch_size=1)
    assert still.nats_per_character == pytest.approx(one_stream.nats_per_character, rel=1e-5)
    assert still.dynamic["rate"] == 0 and usual.dynamic is None
    assert repr(dynamic).endswith(" characters, dynamic)")


def test_the_defaults_of_dynamic_evaluation_are_those_of_its_record():
    parameters = inspect.signature(evaluate).parameters
    for name in ("rate", "decay", "ngram_lr"):
        assert parameters[f"dynamic_{name}"].default == getattr(DynamicConfig, name)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "runs/x"}, "`model` must be of type CharModel, not 'runs/x'"),
        ({"text": b"ab"}, "`text` must be of type str, not b'ab'"),
        ({"text": "a"}, "a text of fewer than 2 characters has nothing to predict"),
        ({"text": "☃☃"}, "the vocabulary has no '☃'"),
        ({"window": 0}, "`window` must be 1 or more, not 0"),
        ({"window": "8"}, "`window` must be a whole number, not '8'"),
        ({"batch_size": 1.5}, "`batch_size` must be a whole number, not 1.5"),
        ({"dynamic": 1}, "`dynamic` must be of type bool, not 1"),
        ({"dynamic": True, "window": 8}, "`dynamic=True` reads one stream: leave out `window`"),
        ({"dynamic_rate": 0.5}, "`dynamic_rate` has no effect without `dynamic=True`"),
        ({"dynamic": True, "dynamic_rate": -1}, "`dynamic_rate` must be 0 to 1, not -1"),
        ({"dynamic": True, "dynamic_decay": "x"}, "`dynamic_decay` must be float, not 'x'"),
        ({"unknown": "drop"}, "`unknown` must be one of error, skip, replace, not 'drop'"),
        ({"workers": 0}, "`workers` must be 1 to 1,024, not 0"),
        ({"workers": "all"}, "`workers` must be a whole number, not 'all'"),
        ({"windows": 8}, "unknown option 'windows': did you mean 'window'?"),
    ],
)
def test_an_argument_that_is_refused_is_named(model, given, message):
    with pytest.raises(CharlstmError, match=f"^{message}"):
        evaluate(**{"model": model, "text": TEXT, **given})
