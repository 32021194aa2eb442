"""scripts/odd_corpora: a small number of texts, and that it sees what is wrong."""

import odd_corpora as odd
import pytest


def test_texts_of_all_kinds_are_trained_on_or_refused(capsys):
    odd.main(["--count", "80", "--seed", "5"])
    *_, last = capsys.readouterr().out.splitlines()
    trained, refused = (int(cell) for cell in last.split("|")[2:4])
    assert trained + refused >= 80 and trained > 20 and refused > 20


HOW = {"level": "char", "newlines": "keep", "encoding": "utf-8", "lines": False, "val_frac": 0.1}


def test_a_text_that_is_encoded_otherwise_is_seen(tmp_path, monkeypatch):
    data = b"abcab\r\ncabc"
    assert odd.try_out(tmp_path, data, HOW) == "trained"
    monkeypatch.setattr(odd, "expected_text", lambda data, how: "abcab\ncabc")
    with pytest.raises(AssertionError):
        odd.try_out(tmp_path, data, {**HOW, "overwrite": True})


@pytest.mark.parametrize("data", [b"", b"a", b"\xff\xfe", "ä".encode("latin-1")])
def test_what_is_refused_leaves_nothing(tmp_path, data):
    assert odd.try_out(tmp_path, data, HOW) == "refused"
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
