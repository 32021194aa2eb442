"""advice.py: runs, the changes that they are compared with, and the advice that they get."""

import json

import advice as script
import common
import pytest
from advice_trials import Trial

import charlstm

ORIGIN = common.Origin("some kernels", "Some CPU", "3", "abc1234")
SMALL = {"hidden": 8, "batch_size": 4, "seq_length": 10, "steps": 20, "lr": 0.01, "seed": 100}


@pytest.fixture(autouse=True)
def small(monkeypatch, text_file):
    monkeypatch.setattr(script, "text_file", lambda name: text_file)
    monkeypatch.setattr(script, "trials", lambda: iter([Trial("some", SMALL)]))
    monkeypatch.setattr(script, "this_origin", lambda: ORIGIN)


def test_a_row_has_the_evaluations_of_its_run(text_file, tmp_path):
    result = script.measure(Trial("some", SMALL), ORIGIN)
    assert result.reason == "finished" and result.origin == ORIGIN
    run = charlstm.train(text_file, tmp_path / "run", workers=1, **SMALL)
    assert result.best.val_loss == pytest.approx(run.best_val_loss, abs=1e-4)
    assert [each.step for each in result.series] == [10, 20]
    assert result.config.lr == 0.01 and result.config.steps == 20


def test_a_run_is_compared_with_each_change_and_none_is_made_again(tmp_path, monkeypatch, capsys):
    table = tmp_path / "t.tsv"
    script.main(["--table", str(table)])
    printed = capsys.readouterr().out
    base, *others = script.read_results(table)
    asked = [result.trial.settings for result in others]
    assert asked == [
        SMALL | {"lr": 0.03},
        SMALL | {"steps": 40},
        SMALL | {"dropout": round(base.config.dropout + 0.2, 2)},
    ]
    ((result, saved),) = script.compared([base, *others])
    assert result == base
    before, *after = ([run.best, run.best, run.series[-1]] for run in (base, *others))
    losses = [each[k].val_loss / before[k].val_loss for k, each in enumerate(after)]
    assert list(saved.values()) == [1 - loss for loss in losses]
    monkeypatch.setattr(script, "measure", None)
    script.main(["--table", str(table)])
    assert capsys.readouterr().out == printed


def test_a_run_that_diverged_has_an_infinite_loss():
    result = script.measure(Trial("some", SMALL), ORIGIN)
    (change, *_) = script.changes(result).values()
    row = result._replace(asked=change.asked, reason="diverged")
    ((_, saved),) = script.compared([result, row])
    assert saved == {"three times the rate": float("-inf")}


def test_runs_are_counted_by_verdict_and_advice():
    """Both losses fall to the end: twice the steps and three times the rate are advised."""
    falling = [[10 * k, 3 - 0.1 * k, 3 - 0.1 * k] for k in range(1, 11)]
    base = script.measure(Trial("some", SMALL), ORIGIN)._replace(evaluations=json.dumps(falling))
    assert script.advised(base) == {"steps=40", "lr=0.03"}
    rows = [base]
    for (name, trial), loss in zip(script.changes(base).items(), (1.9, 1.97, 2.1), strict=True):
        rows.append(base._replace(asked=trial.asked, evaluations=json.dumps([[40, loss, loss]])))
        assert name in ("three times the rate", "twice the steps", "more dropout")
    assert script.count(rows) == {
        "three times the rate": {("right", True): 1},
        "twice the steps": {("of little effect", True): 1},
        "more dropout": {("wrong", False): 1},
    }
    lines = [line.split("|")[1:-1] for line in script.counts_table(rows).splitlines()[2:]]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["three times the rate", "1 of 1", "0 of 0", "0 of 0"],
        ["twice the steps", "0 of 0", "1 of 1", "0 of 0"],
        ["more dropout", "0 of 0", "0 of 0", "0 of 1"],
    ]
