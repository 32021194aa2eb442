"""The options --dynamic of the commands eval and score."""

import json
import shutil

import pytest
from corpus_files import make_text

from charlstm import load
from charlstm.analysis.dynamic_evaluation import DynamicEvaluation
from charlstm.analysis.segment_gradients import gradient_rms, own_text

DEFAULTS = {
    "segment": 20,
    "rate": 0.0015,
    "decay": 0.001,
    "epsilon": 0.1,
    "ngram_lr": 0.25,
    "match": 5,
}


@pytest.fixture
def measured(tmp_path):
    path = tmp_path / "measured.txt"
    path.write_text(make_text(20, seed=9))
    return path


def test_eval_scales_steps_by_gradients_on_the_models_own_text(cli, trained, measured):
    model = load(trained)
    result = cli("eval", measured, "-r", trained, "--dynamic", "--json")
    figures = json.loads(result.stdout)
    assert figures["dynamic"] == DEFAULTS
    assert figures["window"] is None and "note" not in result.stderr
    expected = DynamicEvaluation(model, gradient_rms(model, own_text(model)))
    loss = expected.evaluate(model.vocab.encode(measured.read_text()))
    assert figures["nats_per_character"] == pytest.approx(loss.nats_per_character, rel=1e-6)
    shown = cli("eval", measured, "-r", trained, "--dynamic", "--dynamic-rate", 0.02).stdout
    assert "dynamic              segment 20, rate 0.02, decay 0.001" in shown


def test_score_has_the_same_options(cli, trained, measured):
    arguments = ("score", measured, "-r", trained)
    static = [json.loads(line) for line in cli(*arguments).stdout.splitlines()]
    settings = {**DEFAULTS, "rate": 0.0, "decay": 0.5, "ngram_lr": 0.0, "match": 0}
    given = (
        "--dynamic-rate",
        0,
        "--dynamic-decay",
        0.5,
        "--dynamic-ngram-lr",
        0,
        "--dynamic-match",
        0,
    )
    output = cli(*arguments, "--dynamic", *given).stdout
    records = [json.loads(line) for line in output.splitlines()]
    for record, before in zip(records, static, strict=True):
        assert record.pop("dynamic") == settings
        assert record["nats"] == pytest.approx(before["nats"], rel=1e-5)
        assert record["text"] == before["text"] and set(record) == set(before)


def test_a_model_file_alone_gives_the_same_scores_as_its_run(cli, trained, measured, tmp_path):
    alone = tmp_path / "alone.safetensors"
    shutil.copy(trained / "best.safetensors", alone)
    of_run, of_file = (
        cli("score", measured, "-r", place, "--dynamic").stdout for place in (trained, alone)
    )
    assert of_run == of_file != ""


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (
            ["--dynamic", "--window", 64],
            2,
            "--dynamic reads one stream: leave out --window and --batch-size",
        ),
        (
            ["--dynamic", "--batch-size", 2],
            2,
            "--dynamic reads one stream: leave out --window and --batch-size",
        ),
        (["--dynamic-rate", 0.1], 2, "--dynamic-rate needs --dynamic"),
        (["--dynamic-ngram-lr", 0.1], 2, "--dynamic-ngram-lr needs --dynamic"),
        (["--dynamic-decay", 0.1], 2, "--dynamic-decay needs --dynamic"),
        (["--dynamic", "--dynamic-rate", -1], 2, "--dynamic-rate must be 0 to 1"),
    ],
)
def test_contradictory_options_are_refused(cli, trained, measured, options, code, message):
    result = cli("eval", measured, "-r", trained, *options, code=code)
    assert message in result.stderr and result.stdout == ""
