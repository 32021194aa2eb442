"""charlstm inspect gates: what the cells do, which of them react to what, and the command."""

from dataclasses import replace

import numpy as np
import pytest
from gate_pages import TEXT, embedded, make_model, quote_model

from charlstm import CharlstmError, CharModel, Vocab
from charlstm.analysis.gates import measure_activity
from charlstm.analysis.gates_data import gates_data
from charlstm.analysis.text_features import (
    Reaction,
    correlate,
    features,
    reactions,
    text_features,
)
from charlstm.network.textbook_cells import gru_step_forward, lstm_step_forward, rnn_step_forward
from charlstm.runs.checkpoint import Checkpoint, save_checkpoint


def steps_of_cells(model, ids):
    """Each layer's cell values (N, H) and mean gates (N, G), by the step functions."""
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
                gates.append([i.mean(), f.mean(), o.mean()])
            elif cell == "gru":
                h, (*_, r, z, _, _) = gru_step_forward(
                    x, h, part["Wx"], part["Wh"], part["b"], part["bn"]
                )
                values.append(h[0])
                gates.append([r.mean(), z.mean()])
            else:
                h, _ = rnn_step_forward(x, h, part["Wx"], part["Wh"], part["b"])
                values.append(h[0])
                gates.append([])
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
    inside = np.array(list(TEXT)) != "\n"  # a line end is the first symbol of what comes after it
    for name, axis in (("cells", 1), ("gates", 2)):
        parts = np.concatenate([getattr(line, name) for line in lines], axis=axis)
        measured = np.compress(inside, getattr(whole, name), axis=axis)
        np.testing.assert_allclose(measured, np.compress(inside, parts, axis=axis), atol=1e-12)
    carried = measure_activity(plain, model.vocab.encode(TEXT))
    assert np.abs(whole.cells - carried.cells).max() > 0.01


@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_measures_what_the_cells_do_over_carried_windows(cell, dtype, bound):
    model = make_model(cell=cell, scale=0.5, dtype=dtype)
    ids = model.vocab.encode(TEXT)
    activity = measure_activity(model, ids)
    # the text follows a line end, which is read first and not shown
    expected = list(steps_of_cells(model, [*model.vocab.encode("\n"), *ids]))
    assert activity.cells.shape == (2, len(TEXT), 6)
    assert activity.gates.shape == (2, {"lstm": 3, "gru": 2, "rnn": 0}[cell], len(TEXT))
    for k, (values, gates) in enumerate(expected):
        np.testing.assert_allclose(activity.cells[k], values[1:], atol=bound)
        np.testing.assert_allclose(activity.gates[k], gates[1:].T, atol=bound)
    score = model.score(TEXT)
    np.testing.assert_allclose(activity.bits, score.nats / np.log(2), atol=bound)
    assert activity.bits.mean() == pytest.approx(score.bits_per_character)


def test_expects_the_likeliest_symbols():
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
    assert gates_data(model, activity, "run")["bits"][0] is None
    with pytest.raises(CharlstmError, match="the text is empty"):
        measure_activity(model, model.vocab.encode(""))


# -- features of the text and the cells that follow them -------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("inside quotes", 'a"b"c“d”', [0, 1, 1, 0, 0, 1, 1, 0]),
        ("inside quotes", '"a\n\nb', [1, 1, 1, 0, 0]),  # never closed: until the empty line
        ("line end", "a\n\nb", [0, 1, 1, 0]),
        ("position in the line", "ab\nc", [1, 2, 0, 1]),
        ("characters to the line end", "ab\nc", [2, 1, 0, 1]),
        ("inside brackets", "a(b[c)]d)e", [0, 1, 1, 1, 1, 1, 1, 1, 0, 0]),
        ("line in capitals so far", " A.Bc\nD", [0, 1, 1, 1, 0, 0, 1]),
        ("line after a colon", "A:\n\nb\nc", [0, 0, 0, 1, 1, 1, 0]),
        ("capital letter", "aÄb", [0, 1, 0]),
        ("indentation of the line", "\t x y\nz", [1, 2, 2, 2, 2, 2, 0]),
    ],
)
def test_features(name, text, expected):
    assert features(text)[name].tolist() == expected


def test_features_of_bytes_and_words_are_those_of_their_last_character():
    data = "“é”\n".encode() + b"\xff"
    found = text_features(Vocab.bytes(), np.frombuffer(data, np.uint8))
    assert found["inside quotes"].tolist() == [1] * 5 + [0] * 5
    assert found["position in the line"].tolist() == [1] * 3 + [2] * 2 + [3] * 3 + [0, 1]
    words = Vocab.from_words(["an", "old", "“", "”"])
    found = text_features(words, words.encode("an “old”\n"))
    assert found["inside quotes"].tolist() == [0, 1, 1, 0, 0]
    assert found["position in the line"].tolist() == [2, 4, 7, 8, 0]


def test_correlations_are_pearsons():
    rng = np.random.default_rng(1)
    cells = rng.normal(size=(2, 50, 3))
    cells[1, :, 2] = 0.3
    feature = (rng.random(50) < 0.4).astype(float)
    found = correlate(cells, feature)
    for layer, unit in np.ndindex(2, 3):
        if (layer, unit) == (1, 2):
            assert found[layer, unit] == 0
            continue
        expected = np.corrcoef(cells[layer, :, unit], feature)[0, 1]
        assert found[layer, unit] == pytest.approx(expected, abs=1e-12)


def test_finds_the_cell_that_knows_quotes():
    model = quote_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    inside = features(TEXT)["inside quotes"]
    np.testing.assert_allclose(activity.cells[0, :, 1], inside * np.tanh(1), atol=1e-9)
    first = reactions(activity.cells, inside)[0]
    assert first == Reaction(0, 1, pytest.approx(1.0, abs=1e-9))
    listed = gates_data(model, activity, "run")["reactions"]
    assert listed[0]["feature"] == "inside quotes"
    assert listed[0]["count"] == inside.sum()
    assert listed[0]["cells"][0] == (0, 1, 1.0)
    strengths = [abs(correlation) for _, _, correlation in listed[0]["cells"]]
    assert strengths == sorted(strengths, reverse=True)


def test_says_nothing_about_features_that_are_too_rare():
    model = make_model()
    activity = measure_activity(model, model.vocab.encode(TEXT))
    feature = np.zeros(len(TEXT))
    assert reactions(activity.cells, feature) == []
    feature[:4] = 1
    assert reactions(activity.cells, feature) == []
    assert reactions(activity.cells, 1 - feature) == []
    feature[4] = 1
    assert len(reactions(activity.cells, feature)) == 3


# -- the command ----------------------------------------------------------------------------------


def test_command_writes_the_page(cli, tmp_path):
    model = make_model()
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(model, {}))
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    page = tmp_path / "page.html"
    result = cli("inspect", "gates", tmp_path / "text.txt", "-r", tmp_path, "--output", page)
    assert result.stdout == f"{page}\n"
    assert result.stderr == "300 characters; 0.0 MB\n"
    whole = embedded(page.read_text("utf-8"))
    assert (
        whole["bits"]
        == gates_data(model, measure_activity(model, model.vocab.encode(TEXT)), "")["bits"]
    )
    result = cli(
        *("inspect", "gates", "--text", TEXT, "-r", tmp_path, "--output", page, "--length", 5)
    )
    assert result.stderr == "5 characters, the beginning of the text (--length); 0.0 MB\n"
    assert embedded(page.read_text("utf-8"))["bits"] == whole["bits"][:5]
    cli("inspect", "gates", "-", "-r", tmp_path, "--output", page, input="ab")
    assert len(embedded(page.read_text("utf-8"))["text"]) == 2


def test_command_at_level_byte(cli, tmp_path):
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
        assert [data["symbols"][k][0] for k in data["text"]] == expected


def test_command_refuses(cli, tmp_path):
    save_checkpoint(tmp_path / "best.safetensors", Checkpoint(make_model(), {}))
    options = ("inspect", "gates", "-r", tmp_path, "--output", tmp_path / "no" / "page.html")
    assert "give files, or a text" in cli(*options, code=2).stderr
    assert "give files, or a text" in cli(*options, "text.txt", "--text", "a", code=2).stderr
    assert "page.html: cannot be written" in cli(*options, "--text", "ab", code=1).stderr
    assert "the text is empty" in cli(*options, "--text", "", code=1).stderr
    assert "has no 'z'" in cli(*options, "--text", "az", code=1).stderr
    result = cli(*options, "--text", "Az", "--unknown", "replace", code=1)
    assert "'A' is unknown to the model: read as 'a'" in result.stderr
