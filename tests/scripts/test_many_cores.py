"""many_cores.py: the shares of two workers, the rates, the table and the picture."""

import json

import many_cores
import numpy as np
import pytest

from charlstm import kernels
from charlstm.training.native_step import team_count

pytestmark = pytest.mark.skipif(kernels.BACKEND != "native", reason="measures native steps")
SHAPE = many_cores.Shape(1, 64, 8, 6)


def test_settings_are_the_teams_of_the_rule_and_streams_alone():
    found = many_cores.settings((many_cores.Shape(1, 512, 24, 64),))
    rule = {n: team_count(n, 24, 512) for n in (2, 4, 8, 16, 24)}
    assert [(each.workers, each.teams) for each in found] == [
        (n, teams) for n in rule for teams in sorted({rule[n], n})
    ]


@pytest.mark.parametrize("teams", [1, 2, 4])
def test_two_workers_make_their_shares_and_no_other(teams):
    two = many_cores.TwoOfMany(many_cores.Setting(SHAPE, 4, teams))
    weights, moments = two.trainer.model.parameters.vector, two.trainer.arrays()["moments.mean"]
    before = weights.copy(), moments.copy()
    assert two.seconds() > 0
    assert np.array_equal(weights, before[0])
    changed = moments != before[1]
    half = len(changed) // 2
    # Two of four equal shares. Weights by symbols that do not occur do not change.
    assert changed[:half].mean() > 0.4 and not changed[half:].any()
    # of the tasks of the weight gradients, too
    assert two._native._step.next_task - 2 == two._tasks
    assert two._tasks - 2 * -(-two._tasks // 4) >= 0
    assert np.isfinite(two.trainer.step())
    two.trainer.close()


def test_the_result_has_rates_and_a_picture(tmp_path, capsys):
    path = tmp_path / "picture.svg"
    many_cores.main(["--quick", "--json", "--picture", str(path)])
    result = json.loads(capsys.readouterr().out)
    (shape,) = many_cores.QUICK_SHAPES
    for row in result["rows"]:
        seconds = row["milliseconds"] / 1e3
        assert row["gflops"] == pytest.approx(
            shape.step_operations / row["workers"] / seconds / 1e9
        )
    of_two = [row["of_two_cores"] for row in result["rows"] if row["workers"] == 2]
    assert max(of_two) == 1
    picture = path.read_text("utf-8")
    assert "1×32, batch size 6" in picture and "by streams alone" in picture
    text = many_cores.table(result["rows"])
    assert text.startswith("1×32, batch size 6, sequence length 5")
    assert text.count("\n| ") == 1 + len(result["rows"])
