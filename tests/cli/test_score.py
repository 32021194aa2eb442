"""charlstm score: a JSON object for each line."""

import json
import math
import select
import subprocess

import numpy as np
import pytest
from command_line import COMMAND
from stepwise_losses import losses_in_nats

import charlstm
from charlstm.network import scoring


def test_score_prints_an_object_per_line(cli, trained, tmp_path):
    lines = ["the cat sees a dog.", "", "a dog", "my lord follows the cat."]
    (tmp_path / "t.txt").write_bytes("\r\n".join(lines).encode())
    output = cli("score", tmp_path / "t.txt", "-r", trained).stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [record["text"] for record in records] == lines
    model = charlstm.load(trained)
    for record in records:
        score = model.score(record["text"])
        assert record["characters"] == len(record["text"])
        assert record["nats"] == pytest.approx(score.loss.nats, rel=1e-5)
        assert record.keys() == score.to_dict().keys()
        bits = record["bits_per_character"] if record["text"] else math.nan
        assert bits == pytest.approx(score.bits_per_character, rel=1e-5, nan_ok=True)
    assert records[1]["nats"] == 0
    assert records[1]["bits_per_character"] is records[1]["perplexity"] is None
    assert cli("score", tmp_path / "t.txt", "-r", trained, "--json").stdout == output


@pytest.mark.parametrize("run_name", ["trained", "line_run"])
def test_the_scores_are_those_of_the_library(cli, request, tmp_path, run_name):
    lines = ["anna", "", "a", "nella"] * 20
    (tmp_path / "t.txt").write_text("\n".join(lines))
    run = request.getfixturevalue(run_name)
    output = cli("score", tmp_path / "t.txt", "-r", run).stdout
    scores = charlstm.load(run).score(lines)
    assert [json.loads(line)["text"] for line in output.splitlines()] == lines
    assert [json.loads(line)["nats"] for line in output.splitlines()] == [
        score.loss.nats for score in scores
    ]


def test_bits_of_each_character_from_standard_input(cli, trained):
    output = cli("score", "-r", trained, "--per-char", input="the cat\n\na\n").stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [len(record["bits"]) for record in records] == [7, 0, 1]
    expected = np.array(losses_in_nats(charlstm.load(trained), "\nthe cat")) / math.log(2)
    assert np.allclose(records[0]["bits"], expected, atol=1e-4)


def test_a_model_of_bytes_scores_bytes_that_are_not_utf_8(cli, byte_run, tmp_path):
    data = [b"caf\xe9", b"\xff\xfe", "grüße".encode()]
    (tmp_path / "t.txt").write_bytes(b"\n".join(data))
    output = cli("score", tmp_path / "t.txt", "-r", byte_run).stdout
    records = [json.loads(line) for line in output.splitlines()]
    assert [record["text"] for record in records] == ["caf\udce9", "\udcff\udcfe", "grüße"]
    assert [record["characters"] for record in records] == [len(line) for line in data]
    model = charlstm.load(byte_run)
    for record, line in zip(records, data, strict=True):
        ids = np.frombuffer(b"\n" + line, np.uint8).astype(np.intp)[:, None]
        nats, _ = model.losses(ids[:-1], ids[1:], model.initial_state(1))
        assert record["nats"] == pytest.approx(float(nats.sum()), rel=1e-5)
    error = cli("score", tmp_path / "t.txt", "-r", byte_run, "--encoding", "latin-1", code=1).stderr
    assert "bytes as they are" in error


@pytest.mark.parametrize("options", [[], ["--dynamic"]])
def test_a_line_of_standard_input_is_scored_before_the_next_is_written(trained, options):
    process = subprocess.Popen(
        [*COMMAND, "score", "-r", str(trained), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in ("the cat", "a dog"):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], 30)
            assert ready, "nothing is printed while standard input is open"
            assert json.loads(process.stdout.readline())["text"] == line
        out, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and out == ""


def test_each_replacement_is_reported_once(cli, trained):
    text = "thé cat\nthé dög\n"
    assert "no 'é'" in cli("score", "-r", trained, input=text, code=1).stderr
    result = cli("score", "-r", trained, "--unknown", "replace", input=text)
    assert result.stderr.count("'é' is unknown to the model: read as 'e'") == 1
    assert result.stderr.count("'ö' is unknown") == 1


@pytest.mark.parametrize("options", [(), ("--dynamic",)])
def test_all_lines_before_an_unknown_character_are_scored(cli, trained, tmp_path, options):
    lines = ["the cat", "", "a dog"] * 200
    (tmp_path / "t.txt").write_text("a dog\nthe cat\n")
    (tmp_path / "z.txt").write_text("\n".join([*lines, "a cat sees Zoë", "a dog\n"]))
    result = cli("score", tmp_path / "t.txt", tmp_path / "z.txt", "-r", trained, *options, code=1)
    scored = [json.loads(line)["text"] for line in result.stdout.splitlines()]
    assert scored == ["a dog", "the cat", *lines]
    assert f"{tmp_path / 'z.txt'}, line 601: the vocabulary has no 'Z' (U+005A)" in result.stderr
    text = "a dog\n" * 20 + "é"
    result = cli("score", "-r", trained, *options, input=text, code=1)
    assert result.stderr.count("standard input, line 21: the vocabulary has no 'é' (U+00E9)") == 1
    assert len(result.stdout.splitlines()) == 20


def test_long_texts_are_scored_in_small_batches_with_the_same_result(trained, monkeypatch):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    at_once = [score.loss.nats for score in scoring.score_texts(model, texts)]
    monkeypatch.setattr(scoring, "BLOCK_LENGTH", 20)
    assert list(map(len, scoring.groups_of_texts(texts))) == [3, 2, 4, 3]
    in_batches = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert in_batches == pytest.approx(at_once, rel=1e-5)


def test_texts_over_many_symbols_are_scored_in_small_batches_with_the_same_result(
    trained, monkeypatch
):
    model = charlstm.load(trained)
    texts = ["the cat sees a dog.", "", "my lord", "a dog"] * 3
    at_once = [score.loss.nats for score in scoring.score_texts(model, texts)]
    sizes = []
    losses = scoring.sequence_losses
    monkeypatch.setattr(
        scoring, "MAX_LOG_PROBABILITIES", 2 * scoring.WINDOW_STEPS * len(model.vocab)
    )
    monkeypatch.setattr(
        scoring, "sequence_losses", lambda *given: sizes.append(len(given[1])) or losses(*given)
    )
    in_batches = [score.loss.nats for score in scoring.score_texts(model, texts)]
    assert in_batches == pytest.approx(at_once, rel=1e-5) and sizes == [2] * 6
