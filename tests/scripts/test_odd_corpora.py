"""scripts/stress/odd_corpora.py: a small number of texts, and that failures are found."""

import odd_corpora
import pytest


@pytest.mark.parametrize("count", [25, pytest.param(300, marks=pytest.mark.slow)])
def test_texts_of_all_kinds_are_trained_on_or_refused(count, capsys):
    odd_corpora.main(["--count", str(count), "--seed", "5"])
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
