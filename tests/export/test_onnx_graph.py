"""ONNX graphs, computed by ONNX Runtime, against the model itself."""

import json

import numpy as np
import pytest
from random_models import make_model

from charlstm import CharModel, ModelConfig, Vocab

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from charlstm.export.onnx_graph import onnx_model  # noqa: E402

KINDS = [
    {"layers": 1},
    {"layers": 2, "capped": True, "skip": True, "ngrams": 6},
    {"layers": 3, "skip": True, "ngrams": 2, "H": 3},
    {"layers": 2, "ngrams": 16, "H": 2},
    {"layers": 1, "cell": "gru", "ngrams": 3},
    {"layers": 3, "cell": "gru", "skip": True},
    {"layers": 2, "cell": "rnn", "ngrams": 4, "H": 3},
]


def compute(session, ids, state):
    return session.run(["log_probs", "new_state"], {"ids": ids, "state": state})


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_log_probabilities_and_state_equal_the_models(kind):
    sizes = {"H": 24, "V": 13, "T": 60, "B": 3, "dtype": "float32"} | kind
    model, inputs, _, state = make_model(**sizes)
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    activations = model.new_activations(*inputs.shape)
    end = model.forward(inputs, state, activations)
    expected = activations.log_probs.reshape(*inputs.shape, -1)
    got, new_state = compute(session, inputs, state)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    np.testing.assert_allclose(new_state, end, atol=1e-5)
    for t, ids in enumerate(inputs):  # a step is a window of one symbol
        got, state = compute(session, ids[None], state)
        np.testing.assert_allclose(got[0], expected[t], atol=1e-5)


def test_the_metadata_hold_the_symbols_and_the_config():
    model, *_ = make_model(1, 4, 5, 1, 1, ngrams=3, capped=True)
    about = {entry.key: json.loads(entry.value) for entry in onnx_model(model).metadata_props}
    assert about == {"config": model.config.to_dict(), "vocab": model.vocab.to_dict()}


FORMS = {
    "lstm": {},
    "capped lstm": {"capped": True},
    "lstm with a table": {"ngrams": 6},
    "gru": {"cell": "gru", "ngrams": 3},
    "rnn": {"cell": "rnn"},
}
VOCABS = {
    1: Vocab.from_text("".join(map(chr, range(32, 72)))),
    2: Vocab.bytes(),
    3: Vocab.from_words(["one", " ", "two", ".", "three"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("layers", VOCABS)
@pytest.mark.parametrize("form", FORMS)
def test_ten_thousand_symbols_of_carried_state(form, layers):
    """With skip connections above one layer, and a level of the vocabulary for each depth."""
    rng = np.random.default_rng(1)
    vocab = VOCABS[layers]
    config = ModelConfig(
        hidden=48, layers=layers, skip=layers > 1, ngram_slots=1000, **{"ngrams": 0} | FORMS[form]
    )
    model = CharModel(config, vocab, seed=1)
    if config.ngrams:
        model.parameters["ngrams.W"] = rng.normal(0, 0.1, (1000, len(vocab))).astype(np.float32)
    inputs = rng.integers(len(vocab), size=(10_000, 1))
    session = onnxruntime.InferenceSession(onnx_model(model).SerializeToString())
    state = own = model.initial_state(1)
    activations = model.new_activations(500, 1)
    for start in range(0, 10_000, 500):
        window = inputs[start : start + 500]
        got, state = compute(session, window, state)
        own = model.forward(window, own, activations)
        np.testing.assert_allclose(got[:, 0], activations.log_probs, atol=1e-4)
