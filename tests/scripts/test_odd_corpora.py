"""scripts/stress/odd_corpora.py: a small number of texts, and that failures are found."""

import ast
import re

import odd_corpora
import pytest


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_texts_of_all_kinds_are_trained_on_or_refused(count, capsys):
    with pytest.raises(SystemExit) as ended:
        odd_corpora.main(["--count", str(count), "--seed", "5"])
    assert ended.value.code == 0
    *_, last = capsys.readouterr().out.splitlines()
    trained, refused = (int(cell) for cell in last.split("|")[2:4])
    assert trained + refused >= count and min(trained, refused) > count / 5


OPTIONS = {
    "level": "char",
    "newlines": "keep",
    "encoding": "utf-8",
    "lines": False,
    "val_frac": 0.1,
}


def test_a_text_that_is_encoded_otherwise_is_found(tmp_path, monkeypatch):
    data = b"abcab\r\ncabc"
    assert odd_corpora.attempt(tmp_path, data, OPTIONS) == "trained"
    monkeypatch.setattr(odd_corpora, "decode", lambda data, options: "abcab\ncabc")
    with pytest.raises(AssertionError):
        odd_corpora.attempt(tmp_path, data, {**OPTIONS, "overwrite": True})


@pytest.mark.parametrize("data", [b"", b"a", b"\xff\xfe", "ä".encode("latin-1")])
def test_a_refused_text_leaves_nothing_behind(tmp_path, data):
    assert odd_corpora.attempt(tmp_path, data, OPTIONS) == "refused"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_another_seed_gives_other_texts_and_the_same_seed_the_same(monkeypatch):
    def texts(seed):
        found = []
        monkeypatch.setattr(
            odd_corpora,
            "attempt",
            lambda folder, data, options: found.append((data, str(options))) or "trained",
        )
        counts, failures = odd_corpora.attempt_all(100, seed)
        assert odd_corpora.numbers(counts) == {"trained": 100, "refused": 0} and not failures
        return set(found)

    first, second = texts(1), texts(2)
    assert texts(1) == first
    assert min(len(first), len(second)) > 85
    assert len(first & second) < 15  # hypothesis begins with the simplest text each time


def test_the_simplest_text_that_fails_is_described(monkeypatch, capsys):
    def attempt(folder, data, options):
        assert len(data) < 10, "too long"
        return "refused"

    monkeypatch.setattr(odd_corpora, "attempt", attempt)
    with pytest.raises(SystemExit) as ended:
        odd_corpora.main(["--count", "100", "--seed", "5"])
    assert ended.value.code == 1
    error = capsys.readouterr().err
    assert "AssertionError: too long" in error
    assert len(ast.literal_eval(re.search(r"b'\S*'|b\"\S*\"", error)[0])) == 10
