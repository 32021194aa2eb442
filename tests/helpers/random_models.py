"""Small models with random weights, inputs, targets and state."""

import numpy as np

from charlstm import CharModel, ModelConfig, Vocab
from charlstm.network.layers.ngrams import write_history
from charlstm.network.parameters import NGRAM_TABLE

# (layers, H, V, T, B): single steps, streams and units, and odd sizes
SHAPES = [
    (1, 1, 2, 1, 1),
    (1, 5, 3, 7, 1),
    (2, 3, 5, 1, 4),
    (2, 7, 4, 9, 3),
    (3, 4, 6, 11, 2),
    (3, 1, 2, 9, 5),
]


def make_model(layers, H, V, T, B, dtype="float64", seed=0, ngrams=0, **kind):
    """A model with random parameters; ids inputs and targets (T, B); and a random state."""
    rng = np.random.default_rng(seed)
    vocab = Vocab.from_text("".join(chr(97 + k) for k in range(V)))
    sizes = {"hidden": H, "layers": layers, "ngrams": ngrams, "ngram_slots": 29}
    config = ModelConfig(dtype=dtype, **sizes, **kind)
    model = CharModel(config, vocab, seed=seed)
    for name, array in model.parameters.items():
        array[...] = rng.normal(0, 0.1 if name == NGRAM_TABLE else 0.5, array.shape)
    inputs, targets = rng.integers(V, size=(2, T, B))
    state = rng.normal(0, 0.5, model.initial_state(B).shape).astype(dtype)
    history = rng.integers(V + 1, size=(max(0, ngrams - 1), B))  # 0: before the start of a text
    write_history(history, state[layers:])
    return model, inputs, targets, state
