"""defaults.py: runs that end after a number of operations, their rows, and the tables of means."""

import bz2
import json
import lzma

import common
import defaults as script
import defaults_trials
import pytest
from corpus_files import make_text

from charlstm import ModelConfig
from charlstm.training.defaults import operations_per_symbol

TINY = {"hidden": 16, "batch_size": 4, "seq_length": 20, "layers": 1}
ORIGIN = common.Origin("some kernels", "Some CPU", "3", "abc1234")


@pytest.fixture(autouse=True)
def texts(monkeypatch, tmp_path):
    monkeypatch.setattr(script, "gettempdir", lambda: str(tmp_path))
    some = {"some": lambda path: path.write_text(make_text(400), encoding="utf-8")}
    monkeypatch.setattr(script, "TEXTS", some)
    monkeypatch.setattr(script, "this_origin", lambda: ORIGIN)


@pytest.fixture
def sweep(monkeypatch):
    """Replace the lines of the sweep."""

    def replace(*lines):
        monkeypatch.setattr(defaults_trials, "SWEEP", "\n".join(lines))

    monkeypatch.setattr(defaults_trials, "SETTING", TINY | {"seed": 3})
    return replace


def cells_of(line):
    return [cell.strip() for cell in line.split("|")[1:-1]]


def make_result(**fields):
    row = script.Result("some", "{}", 100, 1.5, 1.6, 1.0, 5, '{"hidden": 8}', *ORIGIN)
    return row._replace(**fields)


def test_a_run_takes_the_operations_that_it_is_given(tmp_path):
    symbols = len(set(make_text(400)))
    model = ModelConfig(hidden=16, layers=1)
    trial = script.Trial(
        "some", TINY | {"tera": 30.5e-12 * 80 * operations_per_symbol(model, symbols)}
    )
    result = script.measure(trial, ORIGIN)
    assert result.steps == 30 and json.loads(result.asked) == trial.settings
    assert result.origin == ORIGIN
    again = script.measure(trial, ORIGIN)
    assert (again.loss, again.cold_loss) == (result.loss, result.cold_loss)
    assert 0 < result.loss < 3 and result.cold_loss != result.loss
    settings = json.loads(result.settings)
    assert settings.items() >= {"hidden": 16, "steps": 30, "batch_size": 4, "ngrams": 6}.items()
    table = tmp_path / "table.tsv"
    script.append_row(table, result._asdict())
    script.append_row(table, again._asdict())
    assert script.read_results(table) == [result, again]
    assert len(table.read_text().splitlines()) == 3


def test_without_sizes_a_run_takes_the_operations_too():
    options = script.train_options(script.Trial("some", {"hidden": 16, "layers": 1, "tera": 1e-4}))
    operations = operations_per_symbol(ModelConfig(hidden=16, layers=1), len(set(make_text(400))))
    assert options["steps"] == int(1e8 / (24 * 64 * operations)) > 1


def test_a_run_that_is_in_the_table_is_not_made_again(sweep, tmp_path, monkeypatch, capsys):
    sweep("some | 1e-5 | lr=0.1", "some | 2e-5 |")
    arguments = ["sweep", "--table", str(tmp_path / "table.tsv")]
    script.main([*arguments, "--print"])
    assert len(capsys.readouterr().out.splitlines()) == 2  # nothing yet
    script.main(arguments)
    first = capsys.readouterr().out
    assert "lr=0.1" in first and len(first.splitlines()) == 4
    monkeypatch.setattr(script, "measure", None)
    script.main(arguments)
    assert capsys.readouterr().out == first
    monkeypatch.setattr(script, "TEXTS", {})
    script.main([*arguments, "--print"])
    assert capsys.readouterr().out == first


def test_a_row_of_another_key_does_not_count(sweep, tmp_path, monkeypatch):
    sweep("some | 1e-5 |")
    table, measured = tmp_path / "table.tsv", []

    def measure(trial, origin):
        measured.append(origin)
        settings = common.resolved_settings(
            script.text_file(trial.text), script.train_options(trial)
        )
        return make_result(asked=trial.asked, settings=settings)._replace(**origin._asdict())

    monkeypatch.setattr(script, "measure", measure)
    changes = [{}, {"kernels": "x"}, {"cpu": "x"}, {"cores": "4"}, {"commit": "abc1234+"}]
    for change in changes:
        monkeypatch.setattr(script, "this_origin", lambda new=change: ORIGIN._replace(**new))
        for _ in range(2):
            script.main(["sweep", "--table", str(table)])
    assert measured == [ORIGIN._replace(**change) for change in changes]
    # A stale row, as of before its settings were stored, counts for nothing either.
    asked = script.trials("sweep", 1)[0][1].asked
    stale = make_result(asked=asked, settings="", cpu="", cores="", commit="stale: before abc1234")
    table.unlink()
    script.append_row(table, stale._asdict())
    script.main(["sweep", "--table", str(table)])
    assert len(measured) == len(changes) + 1
    # Another text with the same settings is another key.
    monkeypatch.setitem(script.TEXTS, "other", script.TEXTS["some"])
    sweep("other | 1e-5 |")
    script.main(["sweep", "--table", str(table)])
    assert len(measured) == len(changes) + 2


def test_the_same_settings_under_another_name_are_not_measured_again(
    sweep, tmp_path, monkeypatch, capsys
):
    sweep("some | 1e-5 |")
    arguments = ["sweep", "--table", str(tmp_path / "table.tsv")]
    script.main(arguments)
    monkeypatch.setattr(script, "measure", None)
    sweep("some | 1e-5 | clip=1.0")  # the default
    capsys.readouterr()
    script.main(arguments)
    printed = capsys.readouterr().out
    assert cells_of(printed.splitlines()[2])[0] == "some, 1e-05 T: clip=1.0"
    script.main([*arguments, "--print"])
    assert capsys.readouterr().out == printed
    first, second = script.read_results(tmp_path / "table.tsv")
    assert first.key == second.key and first.asked != second.asked


def test_runs_with_a_time_budget_have_the_key_of_their_options():
    minutes = {"asked": '{"minutes": 3.0}'}
    first, second = make_result(**minutes), make_result(**minutes, settings='{"hidden": 9}')
    assert first.key == second.key
    assert make_result().key != make_result(settings='{"hidden": 9}').key
    trial = script.Trial("some", {"minutes": 3.0})
    assert script.find_result(trial, [first], ORIGIN) == first
    assert script.find_result(trial, [first], ORIGIN._replace(commit="abc1235")) is None


def test_the_table_shows_means_and_spread():
    results = [make_result(loss=loss, cold_loss=loss + 0.1) for loss in (1.5, 1.25)]
    (row,) = script.summary([("name", each) for each in results]).splitlines()[2:]
    assert cells_of(row) == [
        "name", "1.3750 (1.2500 to 1.5000)", "1.4750", "1.0000", "100", "5",
        "some kernels", "Some CPU, 3 cores", "abc1234",
    ]  # fmt: skip


def test_machines_and_commits_do_not_mix_in_a_mean():
    stale = {"cpu": "", "cores": "", "commit": "stale: before abc1234"}
    results = [make_result(loss=1.5), make_result(loss=1.25, **stale), make_result(loss=1.75)]
    rows = script.summary([("name", each) for each in results]).splitlines()[2:]
    assert [cells_of(row)[1] for row in rows] == ["1.6250 (1.5000 to 1.7500)", "1.2500"]
    assert cells_of(rows[1])[-2:] == ["not recorded", "stale: before abc1234"]


def test_compressors_have_all_of_the_text():
    rows = script.compressor_table(make_result(loss=0.7)).splitlines()[2:]
    ours, *theirs = (float(row.split("|")[2]) for row in rows)
    assert ours == 1.01  # 0.7 nats
    text = make_text(400).encode()
    assert theirs[0] == round(8 * len(lzma.compress(text, preset=9)) / len(text), 3)
    assert theirs[1] == round(8 * len(bz2.compress(text, 9)) / len(text), 3)


def test_a_line_of_the_sweep_stands_for_settings(sweep):
    sweep(
        "some text | 14 | ngrams dropout=0.1 batch_size=8 skip=true",
        "other | 6.7 |",
        "other | 3 | dropout=0.3 weight_dropout=0.0",
    )
    dropped = {"dropout": 0.1, "weight_dropout": 0.1}
    first, second, third = defaults_trials.sweep_lines()
    changes = {**defaults_trials.NGRAMS, **dropped, "batch_size": 8, "skip": True}
    assert first == ("some text", 14, changes)
    assert second == ("other", 6.7, {})
    assert third == ("other", 3, {"dropout": 0.3, "weight_dropout": 0.0})


def test_the_committed_table_is_read_and_its_stale_rows_are_marked(capsys):
    script.main(["minutes", "--seeds", "3", "--print"])
    rows = [cells_of(line) for line in capsys.readouterr().out.splitlines()[2:]]
    stale = [row for row in rows if row[-1].startswith("stale")]
    assert stale[0][:3] == ["--minutes 3.0", "1.3990 (1.3978 to 1.4008)", "1.4162"]
    for result in script.read_results(script.TABLE):
        assert bool(result.settings) == (not result.commit.startswith("stale: before "))
        assert bool(result.cpu) == bool(result.cores) == bool(result.settings)


def test_a_missing_text_is_known_before_the_first_run(tmp_path, monkeypatch):
    monkeypatch.setattr(script, "measure", None)
    monkeypatch.setattr(script, "TEXTS", {"tinyshakespeare": script.shakespeare()})
    monkeypatch.setattr(common, "TEXT_FOLDERS", (tmp_path,))
    with pytest.raises(SystemExit, match=r"scripts/corpora/download\.py tinyshakespeare$"):
        script.main(["minutes", "--table", str(tmp_path / "table.tsv")])
