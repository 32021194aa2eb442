"""engines.py: rows are the losses of runs that go from engine to engine, measured once."""

import pytest

pytest.importorskip("torch")

import engines as script

SMALL = {"layers": 1, "hidden": 8, "batch_size": 4, "seq_length": 10, "precision": "float32"}


def test_rows_are_the_losses_of_runs_and_no_run_is_repeated(
    monkeypatch, tmp_path, text_file, capsys
):
    monkeypatch.setattr(script, "SETTING", SMALL)
    monkeypatch.setattr(script, "find_text", {"tinyshakespeare.txt": text_file}.get)
    monkeypatch.setattr(script, "code_commit", lambda: "abc1234")
    table = tmp_path / "table.tsv"
    arguments = ["--steps", "6", "--seeds", "7", "--table", str(table)]
    script.main(arguments)
    results = script.read_results(table)
    assert [(each.seed, each.engines, each.steps) for each in results] == [
        (7, "native", 6), (7, "torch", 6), (7, "native → torch → native", 6)
    ]  # fmt: skip
    losses = [each.nats for each in results]
    assert losses == pytest.approx([losses[0]] * 3, abs=1e-4) and len({*losses}) == 3
    first = capsys.readouterr().out
    monkeypatch.setattr(script, "measure", lambda *_: pytest.fail("the rows are there"))
    script.main(arguments)
    assert capsys.readouterr().out == first
    *_, row = first.splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:5] == ["7", *(f"{loss:.4f}" for loss in losses), f"{losses[2] - losses[0]:+.4f}"]
