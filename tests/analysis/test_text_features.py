"""Features of a text, and the cells that follow them."""

import numpy as np
import pytest
from gate_pages import TEXT, make_model, quote_model

from charlstm import Vocab
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page_data import gates_page_data
from charlstm.analysis.text_features import (
    Reaction,
    correlate,
    features,
    reactions,
    text_features,
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside quotes", 'a"b"c“d”', [0, 1, 1, 0, 0, 1, 1, 0]),
        ("inside quotes", '"a\n\nb', [1, 1, 1, 0, 0]),  # never closed: until the empty line
        ("line end", "a\n\nb", [0, 1, 1, 0]),
        ("position in the line", "ab\nc", [1, 2, 0, 1]),
        ("characters to the line end", "ab\nc", [2, 1, 0, 1]),
        ("inside brackets", "a(b[c)]d)e", [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("line in capitals so far", " A.Bc\nD", [0, 1, 1, 1, 0, 0, 1]),
        ("line after a colon", "A:\n\nb\nc", [0, 0, 0, 1, 1, 1, 0]),
        ("capital letter", "aÄb", [0, 1, 0]),
        ("indentation of the line", "\t x y\nz", [1, 2, 2, 2, 2, 2, 0]),
    ],
)
def test_features_of_characters(name, text, expected):
    assert features(text)[name].tolist() == expected


def test_features_of_bytes_and_words_are_those_of_their_last_character():
    data = "“é”\n".encode() + b"\xff"
    found = text_features(Vocab.bytes(), np.frombuffer(data, np.uint8))
    assert found["inside quotes"].tolist() == [1] * 5 + [0] * 5
    assert found["position in the line"].tolist() == [1] * 3 + [2] * 2 + [3] * 3 + [0, 1]
    words = Vocab.from_words(["an", "old", "“", "”"])
    found = text_features(words, words.encode("an “old”\n"))
    assert found["inside quotes"].tolist() == [0, 1, 1, 0, 0]
    assert found["position in the line"].tolist() == [2, 4, 7, 8, 0]


def test_correlations_are_those_of_numpy():
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(2, 50, 3))
    cells[1, :, 2] = 0.3
    feature = (rng.random(50) < 0.4).astype(float)
    found = correlate(cells, feature)
    for layer, unit in np.ndindex(2, 3):
        if (layer, unit) == (1, 2):
            assert found[layer, unit] == 0
            continue
        expected = np.corrcoef(cells[layer, :, unit], feature)[0, 1]
        assert found[layer, unit] == pytest.approx(expected, abs=1e-12)


def test_the_cell_that_follows_quotes_is_found():
    model = quote_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    inside = features(TEXT)["inside quotes"]
    np.testing.assert_allclose(activity.cells[0, :, 1], inside * np.tanh(1), atol=1e-9)
    first = reactions(activity.cells, inside)[0]
    assert first == Reaction(0, 1, pytest.approx(1.0, abs=1e-9))
    listed = gates_page_data(model, activity, "run")["reactions"]
    assert listed[0]["feature"] == "inside quotes"
    assert listed[0]["count"] == inside.sum()
    assert listed[0]["cells"][0] == (0, 1, 1.0)
    strengths = [abs(correlation) for _, _, correlation in listed[0]["cells"]]
    assert strengths == sorted(strengths, reverse=True)


def test_rare_features_have_no_reactions():
    model = make_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    feature = np.zeros(len(TEXT))
    assert reactions(activity.cells, feature) == []
    feature[:4] = 1
    assert reactions(activity.cells, feature) == []
    assert reactions(activity.cells, 1 - feature) == []
    feature[4] = 1
    assert len(reactions(activity.cells, feature)) == 3
