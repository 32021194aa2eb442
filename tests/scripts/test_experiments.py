"""experiments.py: settings relative to the defaults, equal cost, stored rows and their table."""

import json

import experiments
import matches
import pytest


@pytest.fixture(autouse=True)
def text(tmp_path, monkeypatch):
    """A text of two symbols in the place of the suite's."""
    path = tmp_path / "text.txt"
    path.write_text("abbab" * 2000)
    monkeypatch.setattr(experiments, "suite_text", lambda name: path)
    experiments.size_of.cache_clear()


def test_a_change_is_relative_to_the_value_that_the_defaults_choose():
    given = {"steps": 100}
    chosen = experiments.choose("c", given, {})
    other = experiments.choose(
        "c", given, {"hidden": "x2", "lr": "x0.5", "dropout": "+0.05", "weight_dropout": "+-0.9"}
    )
    assert chosen == {"steps": 100, "hidden": 64, "layers": 1, "skip": False, "ngram_slots": 4500}
    assert (other["hidden"], other["weight_dropout"]) == (128, 0)
    # a table of 100 numbers for a text of two symbols
    assert experiments.choose("c", given, {"ngram_slots": "/100"})["ngram_slots"] == 50
    plain = experiments.choose("c", given, {"lr": "x1", "dropout": "x1"})
    assert other["lr"] == plain["lr"] / 2
    assert other["dropout"] == round(plain["dropout"] + 0.05, 6)


def test_the_options_of_training_have_no_part_in_the_cost_of_a_step():
    settings = {"lr": "x2", "beta2": 0.98, "dropout": 0.1, "ngram_slots": "x2", "batch_size": 8}
    shape = experiments.shape_of("c", settings, 0.01)
    assert shape == {
        "batch_size": 8, "precision": "float32", "workers": 1,
        "hidden": 64, "layers": 1, "skip": False, "ngram_slots": 9000,
    }  # fmt: skip
    options = experiments.options_of("c", settings, shape, 50)
    assert options == {**shape, "steps": 50, "beta2": 0.98, "dropout": 0.1, "lr": 0.04}


def test_the_cost_of_a_step_grows_with_the_model(monkeypatch):
    monkeypatch.setattr(experiments, "ROUNDS", 3)
    small, large = (
        experiments.step_cost(
            "c", {"hidden": hidden, "layers": 1, "precision": "float32", "workers": 1}
        )
        for hidden in (16, 256)
    )
    assert large > 3 * small > 0


def test_runs_that_are_missing_are_made_and_all_stand_in_the_table(tmp_path, monkeypatch, capsys):
    costs = []

    def cost(text, shape):
        costs.append(shape["hidden"])
        return experiments.REFERENCE_RATE / 100 * shape["hidden"] / 64  # ten milliseconds

    experiment = {
        "defaults": {},
        "more units": {"hidden": 128},
        "a lower rate": {"lr": "x0.5"},
    }
    monkeypatch.setattr(experiments, "step_cost", cost)
    monkeypatch.setitem(experiments.EXPERIMENTS, "size", experiment)
    arguments = ["size", "--minutes", "0.005", "--texts", "c", "--table", str(tmp_path / "t.tsv")]
    experiments.main(arguments)
    rows = experiments.read_table(tmp_path / "t.tsv")
    assert [(row.asked, row.steps, row.milliseconds) for row in rows] == [
        ("{}", 30, 10), ('{"hidden": 128}', 15, 20), ('{"lr": "x0.5"}', 30, 10)
    ]  # fmt: skip
    assert costs == [64, 128]  # a lower rate costs what the defaults cost
    assert json.loads(rows[2].settings)["lr"] == 0.01
    printed = capsys.readouterr().out
    assert f"{rows[0].loss:.4f}" in printed
    assert f"{rows[2].loss - rows[0].loss:+.4f}" in printed

    experiments.main([*arguments, "--seeds", "2"])
    again = experiments.read_table(tmp_path / "t.tsv")
    assert again[:3] == rows
    assert [row.seed for row in again] == [0, 0, 0, 1, 1, 1]
    assert costs == [64, 128]
    capsys.readouterr()
    experiments.main([*arguments, "--print"])
    mean = (again[1].loss - again[0].loss + again[4].loss - again[3].loss) / 2
    assert f"{mean:+.4f}" in capsys.readouterr().out
    assert len(experiments.read_table(tmp_path / "t.tsv")) == 6


def test_matches_are_measured_once_for_each_text_and_seed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "step_cost", lambda text, shape: experiments.REFERENCE_RATE)
    monkeypatch.setattr(matches, "CHARACTERS", 200)
    table = tmp_path / "t.tsv"
    arguments = ["--texts", "c", "--minutes", "0.2", "--table", str(table)]
    matches.main(arguments)
    (row,) = matches.read_table(table)
    assert row[:4] == ("c", 0.2, 0, 12)  # a step takes a second
    assert row.in_training_text < row.in_text < row.without  # the text is one word, repeated
    printed = capsys.readouterr().out
    matches.main([*arguments, "--print", "--seeds", "2"])
    assert capsys.readouterr().out == printed
    assert f"{row.in_text - row.without:+.3f}" in printed
    assert matches.read_table(table) == [row]
