"""scripts/recipe: runs of so many operations, kept in a table, and its means."""

import bz2
import json
import lzma

import defaults as script
import pytest
from corpus_files import make_text

from charlstm import ModelConfig
from charlstm.training.defaults import operations_per_symbol

TINY = {"hidden": 16, "batch_size": 4, "seq_length": 20, "layers": 1}


@pytest.fixture
def texts(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "gettempdir", lambda: str(tmp_path))
    some = {"some": lambda path: path.write_text(make_text(400), encoding="utf-8")}
    monkeypatch.setattr(script, "TEXTS", some)


def test_a_run_takes_the_operations_that_it_is_given(texts, tmp_path):
    symbols = len(set(make_text(400)))
    model = ModelConfig(hidden=16, layers=1)
    trial = script.Trial(
        "some", TINY | {"tera": 30.5e-12 * 80 * operations_per_symbol(model, symbols)}
    )
    result = script.measure(trial)
    assert result.steps == 30 and json.loads(result.settings) == trial.settings
    again = script.measure(trial)
    assert (again.loss, again.cold_loss) == (result.loss, result.cold_loss)
    assert 0 < result.loss < 3 and result.cold_loss != result.loss
    table = tmp_path / "table.tsv"
    script.append_row(table, result._asdict())
    script.append_row(table, again._asdict())
    assert script.read_results(table) == {trial.key: again}
    assert len(table.read_text().splitlines()) == 3


def test_a_run_that_is_in_the_table_is_not_made_again(texts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "SHAKESPEARE", tmp_path)
    monkeypatch.setattr(script, "SETTING", TINY | {"seed": 3})
    monkeypatch.setattr(script, "SWEEP", "some | 1e-5 | lr=0.1\nsome | 2e-5 |")
    arguments = ["sweep", "--table", str(tmp_path / "table.tsv")]
    script.main([*arguments, "--print"])
    assert len(capsys.readouterr().out.splitlines()) == 2  # nothing yet
    script.main(arguments)
    first = capsys.readouterr().out
    assert "lr=0.1" in first and len(first.splitlines()) == 4
    monkeypatch.setattr(script, "measure", None)
    script.main(arguments)
    assert capsys.readouterr().out == first


def test_the_table_shows_means_and_spread():
    results = [
        script.Result("some", "{}", 100, loss, loss + 0.1, 1.0, 5, "x") for loss in (1.5, 1.25)
    ]
    row = script.summary({"name": results}).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "name", "1.3750 (1.2500 to 1.5000)", "1.4750", "1.0000", "100", "5",
    ]  # fmt: skip


def test_compressors_have_the_whole_text(texts):
    result = script.Result("some", "{}", 100, 0.7, 0.7, 0.7, 5, "x")
    rows = script.beside_compressors(result).splitlines()[2:]
    ours, *theirs = (float(row.split("|")[2]) for row in rows)
    assert ours == 1.01  # 0.7 nats
    text = make_text(400).encode()
    assert theirs[0] == round(8 * len(lzma.compress(text, preset=9)) / len(text), 3)
    assert theirs[1] == round(8 * len(bz2.compress(text, 9)) / len(text), 3)


def test_a_line_of_the_sweep_stands_for_settings(monkeypatch):
    lines = ["some text | 14 | ngrams dropout=0.1 batch_size=8 skip=true", "other | 6.7 |"]
    lines.append("other | 3 | dropout=0.3 weight_dropout=0.0")
    monkeypatch.setattr(script, "SWEEP", "\n" + "\n".join(lines) + "\n")
    dropped = {"dropout": 0.1, "weight_dropout": 0.1}
    first, second, third = script.swept()
    assert first == ("some text", 14, {**script.NGRAMS, **dropped, "batch_size": 8, "skip": True})
    assert second == ("other", 6.7, {})
    assert third == ("other", 3, {"dropout": 0.3, "weight_dropout": 0.0})
