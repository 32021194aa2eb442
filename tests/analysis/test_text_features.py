"""Features of a text, and their correlation with units."""

import numpy as np
import pytest

from charlstm import Vocab
from charlstm.analysis.text_features import correlate, features, text_features, varies


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


def test_a_feature_varies_if_it_leaves_its_most_frequent_value_at_five_places():
    feature = np.zeros(300)
    assert not varies(feature)
    feature[:4] = 1
    assert not varies(feature) and not varies(1 - feature)
    feature[4] = 1
    assert varies(feature) and varies(1 - feature)
