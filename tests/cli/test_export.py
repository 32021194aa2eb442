"""charlstm export: the files that it writes, and what it says about them."""

import json
import re
import shutil

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
    assert facts["exported_loss"] == facts["loss"] and facts["file"] == "model.html"
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
    for name in ("model", "model.docx", "html"):
        error = cli("export", "-r", trained, tmp_path / name, code=2).stderr
        assert "the ending of FILE says which form to write: .html" in error
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
