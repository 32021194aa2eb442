"""The activity of cells and gates, against the textbook cells; the command inspect gates."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
from gate_pages import TEXT, embedded, make_model

from charlstm import CharlstmError, CharModel, Vocab
from charlstm.analysis.gate_activity import measure_activity
from charlstm.analysis.gates_page_data import gates_page_data
from charlstm.network.textbook_cells import gru_step_forward, lstm_step_forward, rnn_step_forward
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint


def steps_of_cells(model, ids):
    """Each layer's cell values (N, H) and gates (N, G, H), by the textbook cells."""
    H, cell = model.config.hidden, model.config.cell
    inputs = np.eye(len(model.vocab))[ids]
    for k in range(model.config.layers):
        part = model.parameters.part(f"layers.{k}.")
        h, c = np.zeros((1, H)), np.zeros((1, H))
        values, gates, outputs = [], [], []
        for x in inputs[:, None]:
            if cell == "lstm":
                h, c, (*_, i, f, o, _, tanh_c) = lstm_step_forward(
                    x, h, c, part["Wx"], part["Wh"], part["b"]
                )
                values.append(tanh_c[0])
                gates.append([i[0], f[0], o[0]])
            elif cell == "gru":
                h, (*_, r, z, _, _) = gru_step_forward(
                    x, h, part["Wx"], part["Wh"], part["b"], part["bn"]
                )
                values.append(h[0])
                gates.append([r[0], z[0]])
            else:
                h, _ = rnn_step_forward(x, h, part["Wx"], part["Wh"], part["b"])
                values.append(h[0])
                gates.append(np.empty((0, H)))
            outputs.append(h[0])
        yield np.array(values), np.array(gates)
        inputs = np.array(outputs)


# -- the measurement ------------------------------------------------------------------------------


def test_a_model_of_lines_reads_each_line_afresh():
    plain = make_model(scale=0.5)
    model = CharModel(replace(plain.config, lines=True), plain.vocab)
    model.parameters.vector[:] = plain.parameters.vector
    whole = measure_activity(model, model.vocab.encode(TEXT))
    lines = [
        measure_activity(plain, model.vocab.encode(line)) for line in TEXT.splitlines(keepends=True)
    ]
    assert len(lines) > 2
    for name in ("bits", "probabilities"):
        parts = np.concatenate([getattr(line, name) for line in lines])
        np.testing.assert_allclose(getattr(whole, name), parts, atol=1e-12)
    inside = np.array(list(TEXT)) != "\n"  # a line end is the first symbol of the next line
    for name, axis in (("cells", 1), ("gates", 2)):
        parts = np.concatenate([getattr(line, name) for line in lines], axis=axis)
        measured = np.compress(inside, getattr(whole, name), axis=axis)
        np.testing.assert_allclose(measured, np.compress(inside, parts, axis=axis), atol=1e-12)
    carried = measure_activity(plain, model.vocab.encode(TEXT))
    assert np.abs(whole.cells - carried.cells).max() > 0.01


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_cells_and_gates_equal_those_of_the_textbook_cells_across_windows(cell, dtype, bound):
    model = make_model(cell=cell, scale=0.5, dtype=dtype)
    ids = model.vocab.encode(TEXT)
    activity = measure_activity(model, ids)
    # the model first reads a line end, which is not part of the activity
    expected = list(steps_of_cells(model, [*model.vocab.encode("\n"), *ids]))
    assert activity.cells.shape == (2, len(TEXT), 6)
    assert activity.gates.shape == (2, {"lstm": 3, "gru": 2, "rnn": 0}[cell], len(TEXT), 6)
    for k, (values, gates) in enumerate(expected):
        np.testing.assert_allclose(activity.cells[k], values[1:], atol=bound)
        np.testing.assert_allclose(activity.gates[k], gates[1:].swapaxes(0, 1), atol=bound)
    score = model.score(TEXT)
    np.testing.assert_allclose(activity.bits, score.nats / np.log(2), atol=bound)
    assert activity.bits.mean() == pytest.approx(score.bits_per_character)


def test_the_likeliest_symbols_are_expected():
    model = make_model()
    ids = model.vocab.encode("ab“")
    activity = measure_activity(model, ids)
    state = model.initial_state(1)
    for k, id_ in enumerate([*model.vocab.encode("\n"), *ids[:-1]]):
        log_probs, state = model.step(np.array([id_]), state)
        assert activity.expected[k].tolist() == np.argsort(-log_probs[0])[:5].tolist()
        np.testing.assert_allclose(activity.probabilities[k], np.sort(np.exp(log_probs[0]))[:-6:-1])


def test_without_a_line_end_nothing_predicts_the_first_character():
    model = make_model("abc")
    activity = measure_activity(model, model.vocab.encode("abcab"))
    assert np.isnan(activity.bits[0])
    np.testing.assert_allclose(activity.bits[1:], model.score("abcab").nats / np.log(2))
    assert gates_page_data(model, activity, "run")["text"]["bits"][0] is None
    with pytest.raises(CharlstmError, match="the text is empty"):
        measure_activity(model, model.vocab.encode(""))


# -- the command ----------------------------------------------------------------------------------


def test_the_figures_of_the_page_are_printed_as_json(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make_model()
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(model, {}))
    command = ("inspect", "gates", "--text", TEXT, "-r", tmp_path, "--json")
    figures = json.loads(cli(*command).stdout)
    activity = measure_activity(model, model.vocab.encode(TEXT))
    assert (figures["cell"], figures["symbols"]) == ("lstm", len(TEXT))
    assert figures["bits_per_symbol"] == pytest.approx(np.nanmean(activity.bits))
    openness = [list(layer.values()) for layer in figures["openness"]]
    assert list(figures["openness"][0]) == ["input", "forget", "output"]
    np.testing.assert_allclose(openness, activity.gates.mean((2, 3)), rtol=1e-5)
    for feature in figures["features"]:
        feature["units"] = [tuple(unit.values()) for unit in feature["units"]]
    assert figures["features"] == gates_page_data(model, activity, "")["reactions"]
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]
    error = cli(*command, "-o", "page.html", code=2).stderr
    assert error == "charlstm: --json writes no page: leave out --output\n"


def test_a_large_page_is_announced(cli, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(make_model(), {}))
    command = ("inspect", "gates", "--text", TEXT, "-r", tmp_path, "-o", tmp_path / "page.html")
    assert cli(*command).stderr.startswith("300 characters; ")
    monkeypatch.setattr(import_module("charlstm.cli.inspect"), "LARGE_PAGE", 19_000)
    note, _ = cli(*command).stderr.splitlines()
    assert note == "note: the page will have about 19.2 kB: a smaller --length gives a smaller page"


def test_the_command_writes_a_page(cli, tmp_path):
    model = make_model()
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(model, {}))
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    page = tmp_path / "page.html"
    result = cli("inspect", "gates", tmp_path / "text.txt", "-r", tmp_path, "--output", page)
    assert result.stdout == f"{page}\n"
    assert result.stderr == f"300 characters; {page.stat().st_size / 1e3:.1f} kB\n"
    bits = embedded(page.read_text("utf-8"))["text"]["bits"]
    activity = measure_activity(model, model.vocab.encode(TEXT))
    assert bits == gates_page_data(model, activity, "")["text"]["bits"]
    result = cli(
        *("inspect", "gates", "--text", TEXT, "-r", tmp_path, "--output", page, "--length", 5)
    )
    size = f"{page.stat().st_size / 1e3:.1f}"
    assert result.stderr == f"5 characters, the beginning of the text (--length); {size} kB\n"
    assert embedded(page.read_text("utf-8"))["text"]["bits"] == bits[:5]
    cli("inspect", "gates", "-", "-r", tmp_path, "--output", page, input="ab")
    assert len(embedded(page.read_text("utf-8"))["text"]["text"]) == 2


def test_the_command_reads_bytes(cli, tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(make_model(vocab=Vocab.bytes()), {}))
    (tmp_path / "text.bin").write_bytes(b"\xffa\n\xc3\xa9")
    page = tmp_path / "page.html"
    options = ("-r", tmp_path, "--output", page, "--length", 4)
    for source, expected in (
        ([tmp_path / "text.bin"], ["\\xff", "a", "↵\n", "\\xc3"]),
        (["--text", "aé"], ["a", "\\xc3", "\\xa9"]),
    ):
        cli("inspect", "gates", *source, *options)
        data = embedded(page.read_text("utf-8"))
        assert [data["text"]["symbols"][k][0] for k in data["text"]["text"]] == expected


def test_the_command_refuses_missing_or_unknown_text(cli, tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(make_model(), {}))
    options = ("inspect", "gates", "-r", tmp_path, "--output", tmp_path / "no" / "page.html")
    assert "give files or --text" in cli(*options, code=2).stderr
    assert "give files or --text" in cli(*options, "text.txt", "--text", "a", code=2).stderr
    assert "page.html: cannot be written" in cli(*options, "--text", "ab", code=1).stderr
    assert "the text is empty" in cli(*options, "--text", "", code=1).stderr
    assert "has no 'z'" in cli(*options, "--text", "az", code=1).stderr
    result = cli(*options, "--text", "Az", "--unknown", "replace", code=1)
    assert "'A' is unknown to the model: read as 'a'" in result.stderr
