"""charlstm export: the files that it writes, and what it says about them."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from gate_pages import embedded

import charlstm
from charlstm.export import html_page
from charlstm.export.compact import compact


def test_the_page_of_the_newest_run_and_the_cost_of_its_weights(
    cli, trained, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path / "runs" / "mine")
    result = cli("export", "model.html")
    assert result.stdout == "model.html\n"
    cost, warning = result.stderr.splitlines()
    found = re.fullmatch(
        r"int8 weights cost (-?\d\.\d{4}) nats per character: (\d\.\d{4}) instead of (\d\.\d{4}) "
        r"on the validation text",
        cost,
    )
    model = charlstm.load(trained)
    assert float(found[1]) == pytest.approx(float(found[2]) - float(found[3]), abs=2e-4)
    evaluated = json.loads(cli("eval", "--json").stdout)
    assert float(found[3]) == pytest.approx(evaluated["nats_per_character"], abs=1e-4)
    charlstm.save(compact(model, "int8").model, "runs/mine/best.safetensors")
    evaluated = json.loads(cli("eval", "--json").stdout)
    assert float(found[2]) == pytest.approx(evaluated["nats_per_character"], abs=1e-4)
    size = (tmp_path / "model.html").stat().st_size
    assert warning.startswith(f"{size / 1e3:.1f} kB; a model can give away parts of the text")
    data = embedded((tmp_path / "model.html").read_text("utf-8"))
    assert data["name"] == "mine" and data["weights"] == "int8"
    assert data["symbols"] == list(model.vocab.symbols)
    again = cli("export", "--weights", "float32", "--json", "model.html")
    facts = json.loads(again.stdout)
    assert facts.keys() == {"file", "bytes", "weights"} and facts["file"] == "model.html"
    assert facts["bytes"] == (tmp_path / "model.html").stat().st_size > 1.5 * size


def test_a_run_without_its_text_is_exported_with_a_note(cli, trained, tmp_path):
    charlstm.save(charlstm.load(trained), tmp_path / "alone.safetensors")
    result = cli("export", "-r", tmp_path / "alone.safetensors", tmp_path / "model.html")
    assert "note: the cost of the weights is not measured: " in result.stderr
    facts = json.loads(
        cli("export", "-r", tmp_path / "alone.safetensors", tmp_path / "b.html", "--json").stdout
    )
    assert facts.keys() == {"file", "bytes", "weights"}


def test_refused_files(cli, trained, tmp_path):
    for name in ("model.docx", "model.onnx.gz"):
        error = cli("export", "-r", trained, tmp_path / name, code=2).stderr
        assert "the ending of FILE says which form to write: .html" in error
    error = cli("export", "-r", trained, tmp_path / "m.pt", "--weights", "int8", code=2).stderr
    assert "m.pt: the weights can be float32, not int8" in error
    (tmp_path / "mine.html").write_text("mine")
    error = cli("export", "-r", trained, tmp_path / "mine.html", code=1).stderr
    assert "charlstm did not write it" in error and "--overwrite" in error
    cli("export", "-r", trained, tmp_path / "mine.html", "--overwrite")
    assert embedded((tmp_path / "mine.html").read_text("utf-8"))["level"] == "char"
    error = cli("export", "-r", trained, tmp_path / "no" / "model.html", code=1).stderr
    assert error.splitlines()[-1].endswith("cannot be written: No such file or directory")


def test_a_page_too_large_for_browsers_is_refused(cli, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(html_page, "LARGEST_PAGE", 100)
    arguments = ("export", "-r", trained, tmp_path / "model.html")
    error = cli(*arguments, "--weights", "float32", code=1).stderr
    assert re.search(r"a page of \d+ MB would be too large for browsers: --weights int8", error)
    assert cli(*arguments, code=1).stderr.endswith("would be too large for browsers\n")
    assert list(tmp_path.iterdir()) == []


def test_weights_alone_in_32_and_16_bits(cli, trained, tmp_path):
    model = charlstm.load(trained)
    full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
    assert cli("export", "-r", trained, full).stdout == f"{full}\n"
    loaded = charlstm.load(full)
    assert loaded.config == model.config and loaded.vocab == model.vocab
    for name, array in model.parameters.items():
        assert np.array_equal(loaded.parameters[name], array), name
    result = cli("export", "-r", trained, half, "--weights", "float16")
    assert "float16 weights cost" in result.stderr
    loaded = charlstm.load(half)
    assert loaded.config == model.config
    for name, array in model.parameters.items():
        assert np.array_equal(loaded.parameters[name], array.astype(np.float16)), name
    cli("export", "-r", trained, full)  # which charlstm wrote
    assert 1.7 < full.stat().st_size / half.stat().st_size < 2


def test_a_folder_in_hugging_faces_layout_is_read_back(cli, trained, tmp_path):
    folder, model = tmp_path / "hub", charlstm.load(trained)
    assert cli("export", "-r", trained, folder).stdout == f"{folder}\n"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    loaded = charlstm.load(folder)
    assert np.array_equal(loaded.parameters.vector, model.parameters.vector)
    about = json.loads((folder / "config.json").read_text("utf-8"))
    assert about["model_type"] == "charlstm" and about["hidden"] == model.config.hidden
    card = (folder / "README.md").read_text("utf-8")
    _, metadata, text = card.split("---\n", 2)
    assert metadata.startswith("library_name: charlstm\n") and "\nlicense: " in metadata
    loss = json.loads(cli("info", trained, "--json").stdout)["summary"]["best_val_loss"]
    assert f"| validation loss | {loss:.4f} nats per character |" in text
    assert cli("sample", "-r", folder, "--length", 5, "--seed", 1).stdout
    cli("export", "-r", trained, folder)  # which charlstm wrote
    (folder / "README.md").write_text("mine")
    assert "--overwrite" in cli("export", "-r", trained, folder, code=1).stderr


def test_an_onnx_graph_computes_what_the_model_computes(cli, trained, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    cli("export", "-r", trained, tmp_path / "m.onnx")
    cli("export", "-r", trained, tmp_path / "m.onnx")  # which charlstm wrote
    model = charlstm.load(trained)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    ids = np.arange(40, dtype=np.int64).reshape(20, 2) % len(model.vocab)
    activations = model.new_activations(20, 2)
    model.forward(ids, model.initial_state(2), activations)
    got, _ = session.run(None, {"ids": ids, "state": model.initial_state(2)})
    np.testing.assert_allclose(got.reshape(40, -1), activations.log_probs, atol=1e-4)


def test_without_onnx_a_line_says_how_to_install_it(cli, trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "charlstm.export.onnx_graph", raising=False)
    error = cli("export", "-r", trained, tmp_path / "m.onnx", code=1).stderr
    assert error == "charlstm: the package onnx is missing: pip install 'charlstm[onnx]'\n"


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_plain_model_loads_in_pytorch_by_the_lines_that_are_printed(cli, tmp_path, cell):
    torch = pytest.importorskip("torch")
    vocab = charlstm.Vocab.from_text("a text")
    config = charlstm.ModelConfig(cell=cell, hidden=7, layers=2)
    model = charlstm.CharModel(config, vocab, seed=1)
    charlstm.save(model, tmp_path / "model.safetensors")
    result = cli("export", "-r", tmp_path / "model.safetensors", tmp_path / "m.pt")
    names = {"torch": torch}
    exec("\n".join(result.stderr.splitlines()[:3]), names)
    ids = np.arange(30).reshape(30, 1) % len(vocab)
    activations = model.new_activations(30, 1)
    model.forward(ids, model.initial_state(1), activations)
    with torch.no_grad():
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(ids), len(vocab)).float()
        logits = names["head"](names["layers"](one_hot)[0])
    got = logits.log_softmax(-1).reshape(30, -1).numpy()
    np.testing.assert_allclose(got, activations.log_probs, atol=1e-5)
    assert names["saved"]["symbols"] == list(vocab.symbols)
    assert cli("convert", tmp_path / "m.pt", tmp_path / "again.safetensors").stderr == ""
    again = charlstm.load(tmp_path / "again.safetensors")
    assert again.config == model.config and again.vocab == vocab
    assert np.array_equal(again.parameters.vector, model.parameters.vector)


def test_a_model_that_pytorchs_layers_cannot_express(cli, tmp_path):
    pytest.importorskip("torch")
    config = charlstm.ModelConfig(hidden=4, capped=True)
    model = charlstm.CharModel(config, charlstm.Vocab.from_text("abc"))
    charlstm.save(model, tmp_path / "m.safetensors")
    error = cli("export", "-r", tmp_path / "m.safetensors", tmp_path / "m.pt", code=1).stderr
    assert "capped=True has no counterpart in PyTorch's layers: CharNetwork.from_model" in error
