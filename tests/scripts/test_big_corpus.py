"""big_corpus.py: a small text through all of its measurements, and its limits."""

import json
import sys

import big_corpus as script
import pytest

FIGURES = {
    "text_mb": 100.0,
    "encode_first_mb_per_s": 50.0,
    "train_private_mb": 400.0,
    "novelty_s": 10.0,
    "novelty_private_mb": 400.0,
    "novelty_longest": 2000,
}


@pytest.mark.slow
def test_a_small_text_is_measured(capsys):
    script.main(["--gigabytes", "0.001", "--steps", "2", "--hidden", "8", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert 1 <= figures["text_mb"] < 10
    assert figures["novelty_longest"] >= 2000
    if sys.platform == "linux":
        assert 0 < figures["train_private_mb"] < 400


@pytest.mark.parametrize(
    ("changed", "missed"),
    [
        ({}, None),
        ({"encode_first_mb_per_s": 49.9}, "encoding is slower than 50 MB/s"),
        ({"train_private_mb": 400.1}, "training takes more than 400 MB"),
        ({"novelty_s": 10.1}, "--novelty takes more than 10 s"),
        ({"text_mb": 200.0, "novelty_s": 20.0}, None),
        ({"novelty_private_mb": 400.1}, "--novelty takes more than 400 MB"),
        ({"novelty_longest": 1999}, "--novelty finds only 1999 of 2000 characters"),
        ({"train_private_mb": 0}, "private memory could not be measured"),
    ],
)
def test_a_missed_limit_is_named(changed, missed):
    lines = script.missed_limits(FIGURES | changed)
    assert [line.startswith(missed) for line in lines] == ([True] if missed else [])


def test_the_exit_code_is_1_where_a_limit_is_missed(monkeypatch, capsys):
    for speed, code in ((50.0, 0), (49.9, 1)):
        figures = FIGURES | {"encode_first_mb_per_s": speed}
        monkeypatch.setattr(script, "measure", lambda *arguments, figures=figures: figures)
        assert script.main([]) == code
        assert ("MISSED: encoding" in capsys.readouterr().out) == bool(code)
