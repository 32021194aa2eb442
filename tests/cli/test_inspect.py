"""charlstm inspect: which models are measured, and the tables of their gradients."""

import numpy as np
import pytest

from charlstm import Vocab
from charlstm.analysis.gradient_flow import (
    ClippedStep,
    GradientFlow,
    measure_gradient_flow,
    random_ids,
)
from charlstm.cli.inspect import gradient_tables, models_to_measure


def test_help_lists_both_commands(cli):
    shown = cli("inspect", "--help").stdout
    assert "\n  gates " in shown and "\n  gradients " in shown


def test_an_untrained_model_of_bytes_is_the_default():
    ((label, model),) = models_to_measure().items()
    assert label == "LSTM" and model.vocab.level == "byte"
    config = model.config
    assert (config.cell, config.hidden, config.layers) == ("lstm", 64, 1)


def test_untrained_models_have_the_size_and_the_vocabulary_of_the_run(trained):
    models = models_to_measure(trained, compare=True)
    run, *others = models.values()
    assert next(iter(models)) == trained.name and len(others) > 2
    for model in others:
        assert model.vocab == run.vocab
        assert (model.config.hidden, model.config.layers) == (run.config.hidden, run.config.layers)


def test_settings_of_an_untrained_model_are_refused_with_a_run(cli, trained):
    arguments = ("inspect", "gradients", "-r", trained)
    error = cli(*arguments, "--hidden", 8, code=2).stderr
    assert "a run has its own --hidden and --layers" in error
    assert "for one untrained model" in cli(*arguments, "--cell", "gru", code=2).stderr


def test_a_table_shows_each_lag_and_where_the_gradient_is_gone():
    models = models_to_measure(cell="rnn", hidden=8, recurrent_scale=0.01)
    ids = random_ids(models["RNN"].vocab, 30)
    (flow,) = measure_gradient_flow(models, ids, 30, None, 5.0)
    lines = list(gradient_tables([flow]))
    assert lines[0] == "norm of dL_t/dh_{t-k}"
    assert lines[1].split() == ["lag", "1", "2", "5", "10", "30", "gone"]
    label, *values, gone = lines[2].split()
    assert label == "RNN" and int(gone) == flow.gone_at("dh") <= 4
    shown = [float(value) for value in values]
    assert shown == pytest.approx(flow.norms["dh"][np.array([1, 2, 5, 10, 30]) - 1], rel=0.5)
    assert lines[-1].startswith("RNN") and f"{flow.step.clipped:.2g}" in lines[-1]


@pytest.mark.parametrize("lags", [500, 20_000])
def test_tables_fit_into_80_columns(lags):
    norms = np.full((lags, 1), 1e-123)
    norms[0] = 1.0
    step = ClippedStep(1.5e300, 5.0)
    long = GradientFlow("a run with a name longer than all others", "lstm", 1, {"dh": norms}, step)
    lasting = GradientFlow("RNN", "rnn", 1, {"dh": np.ones((lags, 1))}, step)
    lines = list(gradient_tables([long, lasting]))
    assert max(map(len, lines)) <= 80
    shown = ["1", "2", "5", "10", "30", "100", "300"] if lags == 500 else lines[1].split()[1:-1]
    assert lines[1].split() == ["lag", *shown, "gone"] and len(shown) == 7
    assert shown[-1] == ("300" if lags == 500 else "10000")
    assert lines[2].startswith("a run with a name long…      1 1e-123")
    assert lines[3].endswith(f"> {lags}")


def test_tables_fit_into_a_narrow_terminal():
    models = models_to_measure(compare=True, hidden=4)
    flows = measure_gradient_flow(models, random_ids(Vocab.bytes(), 300), 300, None, 5.0)
    wide = list(gradient_tables(flows))
    assert list(gradient_tables(flows, 200)) == wide
    for columns, lags in ((40, "300"), (60, "1 30 100 300"), (70, "1 5 10 30 100 300")):
        lines = "\n".join(gradient_tables(flows, columns)).split("\n")
        assert max(map(len, lines)) <= columns
        assert f"lag {lags} gone" in [" ".join(line.split()) for line in lines]
        assert [line.split()[-1] for line in lines if line.startswith("LSTM, forget bias 1")] == [
            line.split()[-1] for line in wide if line.startswith("LSTM, forget bias 1")
        ]


def test_a_text_for_a_model_of_bytes_may_have_any_bytes(cli, byte_run, tmp_path):
    page = ("--output", tmp_path / "gates.html")
    text = b"k\xf6ln".decode("utf-8", "surrogateescape")  # as Python reads it from the command line
    result = cli("inspect", "gates", "--text", text, "-r", byte_run, *page)
    assert result.stderr.startswith("4 bytes; ")


def test_a_text_is_read_as_utf8_under_every_locale(cli, line_run, tmp_path):
    text = "gr\udcc3\udcbc"  # as Python reads it from the command line under the locale C
    page = ("--output", tmp_path / "gates.html")
    assert cli("inspect", "gates", "--text", text, "-r", line_run, *page).stderr.startswith("3 ")


def test_a_text_in_the_place_of_a_file_is_answered_with_the_option(cli, trained, tmp_path):
    page = ("--output", tmp_path / "gates.html")
    error = cli("inspect", "gates", "To be", "-r", trained, *page, code=1).stderr
    hint = "a text itself is given with --text"
    assert error == f"charlstm: cannot read To be: No such file or directory; {hint}\n"


def test_output_replaces_no_input_and_no_file_of_the_users_without_being_asked(
    cli, trained, tmp_path
):
    text, page = tmp_path / "text", tmp_path / "page"
    text.write_text("the")
    arguments = ("inspect", "gates", text, "-r", trained, "--output")
    assert "is read by this command" in cli(*arguments, text, "--overwrite", code=1).stderr
    page.write_text("mine")
    assert "charlstm did not write it" in cli(*arguments, page, code=1).stderr
    assert (text.read_text(), page.read_text()) == ("the", "mine")
    cli(*arguments, page, "--overwrite")
    cli(*arguments, page)  # its own page, this time
    picture = tmp_path / "picture.svg"
    picture.write_text("mine")
    gradients = ("inspect", "gradients", "--hidden", 4, "--lags", 5, "--output", picture)
    assert "charlstm did not write it" in cli(*gradients, code=1).stderr
    assert picture.read_text() == "mine"
