"""advice.tsv: the advice that the stored runs get, counted by whether it is right."""

import advice as script
import pytest

COUNTS = {
    "three times the rate": ["37 of 43", "3 of 16", "1 of 16"],
    "a third of the rate": ["12 of 12", "1 of 1", "0 of 47"],
    "twice the steps": ["10 of 12", "1 of 12", "0 of 7"],
    "more dropout": ["8 of 9", "3 of 11", "0 of 17"],
    "fewer steps": ["0 of 0", "0 of 4", "0 of 13"],
}


@pytest.fixture(scope="module")
def counts():
    return script.count(script.read_results(script.TABLE))


# Options, and the advice that a stored run with these options gets.
EXAMPLES = [
    ({"hidden": 64, "lr": 0.002, "seed": 9}, {"lr=0.006", "steps=500"}),
    ({"cell": "gru", "lr": 0.243, "seed": 6}, {"lr=0.081"}),
    ({"dropout": 0.2, "seed": 14, "steps": 800}, {"dropout=0.4"}),
    ({"seed": 25, "steps": 400, "lr": None}, set()),
]


def test_the_stored_runs_get_this_advice(counts):
    found = {
        change: [f"{each[kind, True]} of {each[kind, True] + each[kind, False]}"
                 for kind in script.KINDS]
        for change, each in counts.items()
    }  # fmt: skip
    assert found == COUNTS


@pytest.mark.parametrize(("options", "advice"), EXAMPLES)
def test_a_stored_run_gets_this_advice(options, advice):
    asked = {(trial.text, trial.asked) for trial in script.trials()}
    (result,) = [
        each
        for each in script.read_results(script.TABLE)
        if (each.text, each.asked) in asked
        and all(each.trial.settings.get(name) == value for name, value in options.items())
    ]
    assert script.advised(result) == advice


def test_advice_is_silent_where_it_would_be_wrong_and_given_where_it_is_right(counts):
    """At most one in ten wrong pieces of advice is given, and at least eight in ten right ones."""
    for change, each in counts.items():
        right, wrong = (each[kind, True] + each[kind, False] for kind in ("right", "wrong"))
        assert each["wrong", True] <= wrong / 10, change
        assert each["right", True] >= 0.8 * right, change
