"""fine_tuning.py: the losses of its table are those of the runs, and no run is repeated."""

import fine_tuning as script
import pytest
from corpus_files import make_text

TEXTS = {"plays": make_text(60), "manual": "1, 2, 3: (four)\n" * 60, "code": "x = y[0] + 1\n" * 80}


def test_each_setting_adds_a_row_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "text_of", TEXTS.__getitem__)
    monkeypatch.setattr(script, "SHAPE", {"hidden": 8, "workers": 1})
    trained, real = [], script.charlstm.train

    def train(text, run, **options):
        trained.append((text.name, run.name, {**options}))
        return real(text, run, **options)

    monkeypatch.setattr(script.charlstm, "train", train)
    table = tmp_path / "t.tsv"
    arguments = ["--pairs", "plays-manual", "--base-steps", "4", "--steps", "3"]
    script.main([*arguments, "--table", str(table)])
    first = capsys.readouterr().out
    assert [name for _, name, _ in trained] == ["base"] + ["run"] * 5
    assert [options["steps"] for _, _, options in trained] == [4, 3, 3, 3, 3, 3]
    assert ["mix" in options for _, _, options in trained] == [False] * 4 + [True] * 2
    results = script.read_results(table)
    assert [result.setting for result in results] == list(script.SETTINGS)
    assert [result.old is None for result in results] == [True] + [False] * 4
    assert len({result.old_before for result in results}) == 1
    for result in results[1:]:
        change = 100 * (result.new / results[0].new - 1)
        forgotten = 100 * (result.old / result.old_before - 1)
        rows = [[cell.strip() for cell in line.split("|")] for line in first.splitlines()]
        (cells,) = [row for row in rows if row[2] == result.setting]
        assert cells[3:8] == [f"{result.new:.3f}", f"{change:+.1f} %", f"{result.old:.3f}",
                              f"{forgotten:+.1f} %", f"{result.old_before:.3f}"]  # fmt: skip
    script.main([*arguments, "--table", str(table)])
    script.main(["--print", "--table", str(table)])
    assert capsys.readouterr().out == first * 2 and len(trained) == 6


def test_the_loss_is_that_on_the_last_tenth_of_a_text(trained, text_file):
    summary = script.charlstm.load(trained)
    text = text_file.read_text(encoding="utf-8")
    ids = summary.vocab.encode(text[int(len(text) * 0.9) :])
    expected = script.evaluate(summary, ids).nats_per_character
    assert script.loss_on_end(trained, text_file) == pytest.approx(expected)
