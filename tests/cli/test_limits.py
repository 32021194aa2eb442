"""Texts that would fill memory or take for ever: bounded or refused, whatever they hold."""

import time

import pytest

import charlstm
from charlstm import CharlstmError
from charlstm.cli.text_input import LONGEST_LINE, split_lines
from charlstm.network import scoring

pytestmark = pytest.mark.usefixtures("cache")


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_lines_are_the_same_in_any_pieces(size):
    text = "ab\r\n\n\ncde\rf\n" + "g" * 20 + "\nh"
    pieces = [text[k : k + size] for k in range(0, len(text), size)]
    expected = ["ab", "", "", "cde\rf", "g" * 20, "h"]
    assert list(split_lines(iter(pieces))) == expected
    assert list(split_lines(iter([*pieces, "\n"]))) == expected


def test_a_line_without_end_is_refused_before_all_of_it_is_read():
    began, read = time.perf_counter(), []

    def pieces():
        yield "first\n"
        for k in range(4000):  # a gigabyte
            read.append(k)
            yield "x" * (1 << 18)

    lines = split_lines(pieces())
    assert next(lines) == "first"
    with pytest.raises(CharlstmError, match="a line of more than 4,194,304 characters: charlstm"):
        next(lines)
    assert len(read) == LONGEST_LINE // (1 << 18) + 1 and time.perf_counter() - began < 5


def test_long_texts_are_scored_few_at_a_time_and_alike(trained, monkeypatch):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    whole = [score.loss.nats for score in scoring.score_texts(model, texts)]
    monkeypatch.setattr(scoring, "BLOCK_CHARACTERS", 20)
    assert list(map(len, scoring.groups_of_texts(texts))) == [3, 2, 4, 3]
    few = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert few == pytest.approx(whole, rel=1e-5)


def test_texts_over_many_symbols_are_scored_few_at_a_time_and_alike(trained, monkeypatch):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    whole = [score.loss.nats for score in scoring.score_texts(model, texts)]
    sizes = []
    losses = scoring._sequence_losses
    monkeypatch.setattr(
        scoring, "MAX_LOG_PROBABILITIES", 2 * scoring.WINDOW_STEPS * len(model.vocab)
    )
    monkeypatch.setattr(
        scoring, "_sequence_losses", lambda *given: sizes.append(len(given[1])) or losses(*given)
    )
    few = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert few == pytest.approx(whole, rel=1e-5) and sizes == [2] * 6


def test_very_many_characters_are_trained_on_where_the_model_fits(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("".join(chr(k) for k in range(0x20000) if not 0xD800 <= k < 0xE000), "utf-8")
    small = {
        "batch_size": 1,
        "seq_length": 1,
        "steps": 1,
        "eval_every": 1,
        "val_frac": 0,
        "workers": 1,
    }
    run = charlstm.train(path, tmp_path / "run", hidden=1, newlines="keep", **small)
    assert len(charlstm.load(run.path).vocab) == 129_024
    with pytest.raises(CharlstmError, match="on 129,024 distinct symbols takes at least"):
        charlstm.train(path, tmp_path / "no", hidden=16_384, **small)
    assert not (tmp_path / "no").exists()
