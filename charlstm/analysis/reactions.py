"""The units of a model whose values follow a feature of a text more closely than noise does.

The noise floor of a feature is the strongest correlation with the feature that a unit has by
chance, or without training. The strongest correlation of a unit is measured in two cases, each
ROUNDS times:

- The model reads the symbols of the text in random order, and the values of the feature are
  reordered in the same way. A correlation in random order comes from the single symbol or from
  chance.
- An untrained model of the same size reads the text. The state of an untrained model depends on the
  last few characters, so that some of its units seem to follow lines or capitals.

The floor of a case is the mean of its strongest correlations plus three standard deviations. The
mean and the standard deviation are computed with Fisher's z = arctanh(correlation). The noise floor
of the feature is the higher of the two floors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from charlstm.analysis.gate_activity import Activity, measure_activity
from charlstm.analysis.text_features import correlate, text_features, varies
from charlstm.arrays import Array
from charlstm.network.model import CharModel
from charlstm.seeds import generator

ROUNDS = 8
# The floor is measured on at most this number of symbols, from the beginning of the text. A longer
# text would give a lower floor, but take longer.
FLOOR_SYMBOLS = 20_000
ROUNDING = 1e-6  # a correlation must exceed the floor by more than this
MOST_NAMED = 3  # maximum number of units that are named for each feature


@dataclass(frozen=True)
class Reaction:
    """A unit whose value correlates with a feature of the text; layers and units count from 1.

    correlation: Pearson's coefficient; for a feature with the values 0 and 1, this is the
        point-biserial coefficient.
    """

    layer: int
    unit: int
    correlation: float


def reactions(cells: Array, feature: Array, floor: float) -> list[Reaction]:
    """Return the units that correlate most with a feature (N,), the strongest first.

    The list has at most MOST_NAMED units, all with a correlation above the floor.

    cells: (L, N, H) values.
    """
    H = cells.shape[2]
    correlations = correlate(cells, feature).ravel()
    strongest = np.argsort(-np.abs(correlations), kind="stable")[:MOST_NAMED]
    return [
        Reaction(int(k) // H + 1, int(k) % H + 1, float(correlations[k]))
        for k in strongest
        if abs(correlations[k]) > floor + ROUNDING
    ]


def features_with_floors(model: CharModel, activity: Activity) -> list[tuple[str, Array, float]]:
    """Return the name, the values (N,) and the noise floor of each feature that varies."""
    features = {
        name: values
        for name, values in text_features(model.vocab, activity.ids).items()
        if varies(values)
    }
    floors = noise_floors(model, activity, features) if features else {}
    return [(name, values, floors[name]) for name, values in features.items()]


def noise_floors(
    model: CharModel, activity: Activity, features: Mapping[str, Array]
) -> dict[str, float]:
    """Return the noise floor of each feature (N,) of a text, by name; each call returns the same.

    The floor is 1 if the feature hardly varies in the part of the text that is measured.
    """
    ids, rng = activity.ids[:FLOOR_SYMBOLS], generator(0, "sample")
    parts = [values[:FLOOR_SYMBOLS] for values in features.values()]
    small = replace(model.config, ngrams=0)  # the table of n-grams does not act on units
    strongest = np.empty((2, ROUNDS, len(parts)))
    for k in range(ROUNDS):
        order = rng.permutation(len(ids))
        untrained = CharModel(small, model.vocab, seed=int(rng.integers(2**32)))
        shuffled = measure_activity(model, ids[order]).cells
        fresh = measure_activity(untrained, ids).cells
        for j, values in enumerate(parts):
            strongest[0, k, j] = np.abs(correlate(shuffled, values[order])).max()
            strongest[1, k, j] = np.abs(correlate(fresh, values)).max()
    z = np.arctanh(np.minimum(strongest, 1 - 1e-9))
    floors = np.tanh(z.mean(axis=1) + 3 * z.std(axis=1, ddof=1)).max(axis=0)
    known = [varies(values) for values in parts]
    return dict(zip(features, np.where(known, floors, 1.0).tolist(), strict=True))
