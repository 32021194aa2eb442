"""Gradient flow: norms against the textbook cells and numeric gradients; table and picture."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from oracles import relative_error

from charlstm import CharlstmError, CharModel, ModelConfig, Vocab, load
from charlstm.analysis import gradient_flow
from charlstm.analysis.gradient_flow import (
    STREAMS,
    WARM_UP_STEPS,
    clipped_step,
    fresh_model,
    gradient_norms,
    measure_gradient_flow,
    models_to_compare,
    random_ids,
)
from charlstm.analysis.gradient_picture import smoothed_spread
from charlstm.cli import inspect
from charlstm.network import textbook_cells

VOCAB = Vocab.from_text("abcdefghij")


def model_and_window(cell, layers, lags):
    model = CharModel(ModelConfig(cell, 6, layers, "float64"), VOCAB, seed=4)
    ids = np.random.default_rng(5).integers(len(VOCAB), size=WARM_UP_STEPS + lags + 1)
    return model, ids


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_norms_equal_those_of_the_textbook_cells(cell):
    lags = 12
    model, ids = model_and_window(cell, 1, lags)
    found = gradient_norms(model, ids, lags, streams=1)

    weights = model.parameters.part("layers.0.")
    x = np.eye(len(VOCAB))[ids]
    state = [np.zeros((1, 6)) for _ in range(2 if cell == "lstm" else 1)]
    caches = []
    for t in range(WARM_UP_STEPS + lags):
        step = getattr(textbook_cells, f"{cell}_step_forward")
        *state, cache = step(x[t : t + 1], *state, *weights.values())
        caches.append(cache)
    W, b = model.parameters["head.W"], model.parameters["head.b"]
    p = np.exp(state[0] @ W + b)
    dstate = [(p / p.sum() - x[-1]) @ W.T, *(np.zeros((1, 6)) for _ in state[1:])]
    forget = np.ones((1, 6))
    for lag in range(1, lags + 1):
        cache = caches[-lag]
        _, *rest = getattr(textbook_cells, f"{cell}_step_backward")(*dstate, cache)
        dstate = rest[: len(state)]
        for name, d in zip(("dh", "dc"), dstate, strict=False):
            assert relative_error(found[name][lag - 1, 0, 0], np.linalg.norm(d)) < 1e-10
        if cell == "lstm":
            forget = forget * cache[-4]
            assert relative_error(found["forget"][lag - 1, 0, 0], forget.mean()) < 1e-10
    assert set(found) == ({"dh", "dc", "forget"} if cell == "lstm" else {"dh"})


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_norms_equal_numeric_gradients_in_every_layer(cell):
    """The change of the last loss when the state k steps before the end changes a little."""
    lags, step = 5, 1e-5
    model, ids = model_and_window(cell, 2, lags)
    found = gradient_norms(model, ids, lags, streams=1)
    window = ids[:, None].astype(np.intp)
    state = model.initial_state(1)
    for t in range(WARM_UP_STEPS):  # lag 5 is the state after the warm-up
        _, state = model.losses(window[t : t + 1], window[t + 1 : t + 2], state)

    def last_loss(state):
        return model.losses(window[WARM_UP_STEPS:-1], window[WARM_UP_STEPS + 1 :], state)[0][-1, 0]

    numeric = np.empty_like(state)
    for index in np.ndindex(state.shape):
        above, below = state.copy(), state.copy()
        above[index] += step
        below[index] -= step
        numeric[index] = (last_loss(above) - last_loss(below)) / (2 * step)
    norms = np.linalg.norm(numeric, axis=-1)[..., 0]  # (L, S)
    for name, theirs in zip(("dh", "dc"), norms.T, strict=False):
        assert relative_error(found[name][-1, :, 0], theirs) < 1e-7


def test_each_stream_is_measured_by_itself_and_the_model_does_not_change():
    model, ids = model_and_window("lstm", 1, 50)
    before = model.parameters.vector.copy()
    found = gradient_norms(model, ids, lags=30, streams=2)  # from the beginning, and to the end
    parts = [gradient_norms(model, part, lags=30, streams=1) for part in (ids[:131], ids[-131:])]
    for name, norms in found.items():
        assert relative_error(norms, np.concatenate([part[name] for part in parts], axis=2)) < 1e-10
    clipped_step(model, ids, 1.0)
    assert np.array_equal(model.parameters.vector, before)


@pytest.fixture(scope="module")
def compared():
    """The flow of the models that are compared: over 500 lags for the last, 120 for the others."""
    vocab = Vocab.bytes()
    models = models_to_compare(64, 1, vocab)
    last = {"LSTM, forget bias 5": models.pop("LSTM, forget bias 5")}
    flows = [
        *measure_gradient_flow(models, random_ids(vocab, 120), 120),
        *measure_gradient_flow(last, random_ids(vocab)),
    ]
    return {flow.label: flow for flow in flows}


def test_gradients_vanish_last_or_explode_by_cell_and_initial_weights(compared):
    gone = {label: flow.gone_at("dh") for label, flow in compared.items()}
    assert gone["RNN, Wh × 0.58"] < 30
    assert gone["LSTM, forget bias 0"] < 60
    assert gone["GRU"] < 100
    assert gone["LSTM, forget bias 1"] is None  # within 120 steps
    assert gone["LSTM, forget bias 5"] is None  # within 500 steps
    open_gates = compared["LSTM, forget bias 5"]
    assert open_gates.gone_at("dc") is None
    # sigmoid(5) = 0.9933, to the power of 100: 0.51
    assert open_gates.norms["forget"][99] == pytest.approx(0.51, abs=0.03)
    half_open = compared["LSTM, forget bias 0"].norms["forget"]
    assert half_open[0] == pytest.approx(0.5, abs=0.02)
    assert half_open[9] == pytest.approx(2**-10, rel=0.3)
    wide = compared["RNN, Wh × 2"].norms["dh"]
    assert wide[99] > 1e3 * wide[0]


def test_clipping_changes_only_gradients_that_explode(compared):
    wide = compared["RNN, Wh × 2"].step
    assert wide.norm > 1e4
    assert wide.clipped == pytest.approx(5.0, rel=1e-6)
    small = compared["RNN, Wh × 0.58"].step
    assert small.norm < 5
    assert small.clipped == pytest.approx(small.norm, rel=1e-6)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_untrained_models_have_the_initial_weights_asked_for(cell):
    config = ModelConfig(cell, 5, 2)
    plain = fresh_model(config, VOCAB).parameters
    options = {} if cell == "rnn" else {"forget_bias": 3.0}
    changed = fresh_model(config, VOCAB, recurrent_scale=0.25, **options).parameters
    for k in range(2):
        assert np.array_equal(changed[f"layers.{k}.Wh"], plain[f"layers.{k}.Wh"] * 0.25)
        assert np.array_equal(changed[f"layers.{k}.Wx"], plain[f"layers.{k}.Wx"])
        if options:
            assert (changed[f"layers.{k}.b"][5:10] == 3).all()
            assert not changed[f"layers.{k}.b"][:5].any()


def test_a_trained_model_is_measured_on_a_text(cli, trained, text_file):
    options = ("inspect", "gradients", "-r", trained, text_file, "--lags", 40, "--json")
    (result,) = json.loads(cli(*options).stdout)
    model = load(trained)
    ids = model.vocab.encode(text_file.read_text(encoding="utf-8"))
    expected = gradient_norms(model, ids, 40)
    assert result["label"] == trained.name
    assert (result["cell"], result["layer"]) == ("lstm", model.config.layers)
    for name in ("dh", "dc", "forget"):
        assert result[name] == expected[name][:, -1].mean(axis=1).tolist()
    assert result["training_step"]["clipped"] <= 5.000001


def test_compare_prints_a_row_for_the_run_and_each_untrained_model(cli, trained):
    printed = cli("inspect", "gradients", "-r", trained, "--compare", "--lags", 20).stdout
    lines = printed.splitlines()
    assert lines[0] == "norm of dL_t/dh_{t-k}"
    assert lines[1].split() == ["lag", "1", "2", "5", "10", "gone"]
    assert lines[2].startswith(trained.name)
    assert [line for line in lines[3:10] if line.startswith(("RNN", "GRU", "LSTM"))] == lines[3:10]
    assert "product of the forget gates" in printed
    assert "norm of the gradient of a training step" in printed


def test_a_picture_smooths_over_lags_and_shows_the_middle_half_of_the_streams():
    """A line of slope -1 with the factors 4 and 1/4 in turn, which nearly vanish."""
    k = np.arange(1, 401)
    noisy = np.where(k % 2, 4.0, 0.25) / k
    streams = np.stack([noisy * k**power for power in (0, 0.1, 0.2, 0.3, 0.4)], axis=1)
    low, median, high = smoothed_spread(streams * [5, 1, 1, 1, 1e-9])  # sizes at lag 1 do not count
    assert low[0] == median[0] == high[0] == 1
    late = slice(50, 320)
    np.testing.assert_allclose(np.log(high / median)[late], 0.1 * np.log(k[late]), atol=0.01)
    np.testing.assert_allclose(np.log(median / low)[late], 0.1 * np.log(k[late]), atol=0.01)
    assert np.ptp(np.log(noisy * k)[late]) > 2.7  # the logarithm of 16
    assert np.ptp(np.log(median * k**0.8)[late]) < 0.3
    np.testing.assert_allclose(smoothed_spread(np.ones((9, 2))), 1)
    assert np.isfinite(smoothed_spread(np.zeros((9, 2)))).all()


def test_a_layer_can_be_chosen(cli):
    common = ("inspect", "gradients", "--cell", "gru", "--hidden", 8, "--layers", 2)
    common += ("--lags", 10, "--json")
    first, second = (json.loads(cli(*common, "--layer", k).stdout)[0] for k in (1, 2))
    assert (first["layer"], second["layer"]) == (1, 2)
    assert first["dh"] != second["dh"]
    assert json.loads(cli(*common).stdout) == [second]
    assert "no such layer" in cli(*common, "--layer", 3, code=1).stderr


def test_a_picture_is_written_as_svg_and_png(cli, tmp_path):
    svg, png = tmp_path / "g.svg", tmp_path / "g.png"
    common = ("inspect", "gradients", "--compare", "--hidden", 8, "--lags", 20, "--output")
    cli(*common, svg)
    assert ElementTree.parse(svg).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    text = svg.read_text(encoding="utf-8")
    for label in ("RNN, Wh × 2", "LSTM, forget bias 5: product of f", "lag k"):
        assert f"<!-- {label}" in text, label  # matplotlib's comment beside the drawn letters
    cli("inspect", "gradients", "--cell", "rnn", "--hidden", 8, "--lags", 20, "--output", png)
    assert png.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--output", "x.pdf"), 2, "must end in .svg or .png"),
        (("--output", "nowhere/x.png"), 1, "cannot be written"),
        (("--cell", "rnn", "--forget-bias", 2), 2, "rnn has no gates"),
        (("--compare", "--cell", "rnn"), 2, "for one untrained model"),
        (("--seed", -1), 2, "--seed must be"),
        (("--hidden", 0), 2, "--hidden must be 1"),
    ],
)
def test_options_that_are_refused(cli, options, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = cli("inspect", "gradients", "--hidden", 16, "--lags", 10, *options, code=code).stderr
    assert message in " ".join(printed.split())


def test_a_gradient_that_overflows_float64_is_refused():
    """No input and no bias: h stays 0, the slope of tanh 1, and each step back is a factor 10."""
    model = CharModel(ModelConfig("rnn", 4, 1, "float64"), VOCAB)
    weights = model.parameters.part("layers.0.")
    weights["Wx"][...] = 0
    weights["Wh"][...] = 10 * np.eye(4)
    ids = random_ids(VOCAB, 500)
    norms = gradient_norms(model, ids, 150)["dh"]
    assert norms[149].mean() == pytest.approx(norms[0].mean() * 1e149)
    with pytest.raises(CharlstmError, match=r"overflows float64 at lag \d+: give `lags` below \d+"):
        gradient_norms(model, ids, 400)
    with pytest.raises(CharlstmError, match="gradient of a training step overflows"):
        clipped_step(model, ids, 5.0)


def test_a_short_text_is_refused(cli, tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("too short")
    printed = cli("inspect", "gradients", path, code=1).stderr
    message = "a text of 9 symbols is too short for --lags 500: give a text of 601 symbols or more"
    assert message in printed


def test_without_matplotlib_the_message_names_the_extra_to_install(cli, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(
        gradient_flow, "measure_gradient_flow", None
    )  # refused before anything is measured
    options = ("inspect", "gradients", "--hidden", 4, "--lags", 5, "--output", tmp_path / "x.svg")
    printed = cli(*options, code=1).stderr
    assert printed == "charlstm: drawing needs matplotlib: pip install 'charlstm[inspect]'\n"
    assert not list(tmp_path.iterdir())


def test_more_lags_read_more_of_a_text(cli, tmp_path, monkeypatch):
    (tmp_path / "long.txt").write_text("the cat. " * 500)
    monkeypatch.setattr(inspect, "SYMBOLS_TO_READ", 1_000)
    options = ("--hidden", 2, "--cell", "rnn", "--lags", 2_000, "--json")
    flows = json.loads(cli("inspect", "gradients", tmp_path / "long.txt", *options).stdout)
    assert [len(flow["dh"]) for flow in flows] == [2_000]


def test_random_ids_are_long_enough_for_all_streams():
    assert len(random_ids(VOCAB, 300)) >= STREAMS * (WARM_UP_STEPS + 300)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -101.0])
def test_extreme_weights_of_an_untrained_model_are_refused(value):
    """They gave NaN and infinity, which are no JSON, or blamed the number of lags."""
    vocab, config = Vocab.from_text("ab"), ModelConfig(hidden=2, layers=1)
    with pytest.raises(CharlstmError, match="`forget_bias` must be a number from -100 to 100, not"):
        fresh_model(config, vocab, forget_bias=value)
    with pytest.raises(CharlstmError, match="`recurrent_scale` must be a number from 0 to 1000"):
        fresh_model(config, vocab, recurrent_scale=value)
