"""Small models and ids for the tests of dynamic evaluation."""

import numpy as np

from charlstm import CharModel, ModelConfig, Vocab


def random_ids(model, length):
    return np.random.default_rng(0).integers(len(model.vocab), size=length, dtype=np.uint8)


def make_model(**config):
    """An untrained model in float64, so that rounding hides no error."""
    config = {"hidden": 7, "layers": 2, "dtype": "float64", **config}
    model = CharModel(ModelConfig(**config), Vocab.from_text("ab\ncd"), 3)
    if "ngrams.W" in model.parameters:
        table = model.parameters["ngrams.W"]
        table[...] = np.random.default_rng(6).normal(size=table.shape)
    return model
