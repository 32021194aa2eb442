"""The units that follow a feature of a text more closely than noise does."""

import numpy as np
import pytest
from gate_pages import TEXT, make_model, quote_model

from charlstm import CharModel, ModelConfig, Vocab
from charlstm.analysis import reactions as module
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page_data import gates_page_data
from charlstm.analysis.reactions import Reaction, features_with_floors, noise_floors, reactions
from charlstm.analysis.text_features import features


def named(model, text):
    """The units that are named, by feature."""
    activity = measure_activity(model, model.vocab.encode(text))
    found = features_with_floors(model, activity)
    return {name: reactions(activity.cells, values, floor) for name, values, floor in found}


def test_a_unit_that_follows_quotes_is_named_and_counted_from_1():
    model = quote_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    inside = features(TEXT)["inside quotes"]
    np.testing.assert_allclose(activity.cells[0, :, 1], inside * np.tanh(1), atol=1e-9)
    assert named(model, TEXT)["inside quotes"] == [Reaction(1, 2, pytest.approx(1.0, abs=1e-9))]
    first, *others = gates_page_data(model, activity, "run")["reactions"]
    assert (first["feature"], first["count"]) == ("inside quotes", inside.sum())
    assert first["units"] == [(1, 2, 1.0)]
    assert 0 < first["floor"] < 1
    assert {"line end", "inside brackets"} <= {feature["feature"] for feature in others}


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_no_unit_of_random_weights_is_named(cell):
    text = TEXT * 3
    untrained = CharModel(ModelConfig(cell, 12, 2), Vocab.from_text(text), seed=100)
    for model in (untrained, make_model(cell=cell)):
        found = named(model, text)
        assert len(found) >= 5
        assert not any(found.values())


def test_units_that_follow_nothing_but_the_character_are_not_named():
    """A unit that is 1 at line ends only: a shuffled text gives the same correlation of 1."""
    model = make_model(cell="rnn", layers=1, scale=0.0)
    weights = model.parameters.part("layers.0.")
    weights["Wx"][model.vocab.encode("\n"), 3] = 20
    activity = measure_activity(model, model.vocab.encode(TEXT))
    end = features(TEXT)["line end"]
    assert reactions(activity.cells, end, 0.9) == [Reaction(1, 4, pytest.approx(1.0))]
    assert noise_floors(model, activity, {"line end": end})["line end"] > 0.999
    assert named(model, TEXT)["line end"] == []


def test_the_floor_is_three_deviations_above_the_mean_of_the_strongest(monkeypatch):
    model = make_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    inside = features(TEXT)["inside quotes"]
    given = np.tile([[0.1, 0.2], [0.3, 0.5]], (module.ROUNDS // 2, 1))  # shuffled, untrained
    values = iter(given.ravel())
    monkeypatch.setattr(module, "correlate", lambda cells, feature: np.array([[-next(values)]]))
    z = np.arctanh(given)
    expected = np.tanh(z.mean(0) + 3 * z.std(0, ddof=1)).max()
    floor = noise_floors(model, activity, {"inside quotes": inside})["inside quotes"]
    assert floor == pytest.approx(expected)


def test_the_floor_is_the_same_each_time_and_lower_for_a_longer_text():
    model = make_model(cell="rnn")
    pure = np.random.default_rng(0).normal(size=len(TEXT) * 9)  # has nothing to do with the text
    floors = []
    for text in (TEXT, TEXT, TEXT * 9):
        activity = measure_activity(model, model.vocab.encode(text))
        floors.append(noise_floors(model, activity, {"noise": pure[: len(text)]})["noise"])
    assert floors[0] == floors[1]
    assert 2 * floors[2] < floors[0] < 0.4  # chance falls with the square root of the length


def test_at_most_three_units_are_named_the_strongest_first():
    feature = np.arange(50.0)
    noise = np.random.default_rng(0).normal(size=(1, 50, 6))
    cells = feature[:, None] * [0, 0.01, -0.3, 0.1, 0.5, 0.2] + noise
    found = reactions(cells, feature, 0.3)
    assert [reaction.unit for reaction in found] == [5, 3, 6]
    assert found[1].correlation < -0.9
    assert reactions(cells, feature, 0.9999) == []


def test_a_feature_that_does_not_vary_where_the_floor_is_measured_names_no_unit(monkeypatch):
    model = make_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    late = (np.arange(300) >= 250).astype(float)
    monkeypatch.setattr(module, "FLOOR_SYMBOLS", 200)
    assert noise_floors(model, activity, {"late": late}) == {"late": 1.0}
