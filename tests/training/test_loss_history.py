"""The losses since the last evaluation: their means, the newest ones, and saving them."""

import json

import pytest

from charlstm.errors import CharlstmError
from charlstm.training.loss_history import RECENT_STEPS, LossHistory


def counted(*values):
    losses = LossHistory()
    for value in values:
        losses.add(value)
    return losses


def test_means_are_of_all_steps_and_of_those_since_the_last_log():
    losses = counted(4.0, 2.0)
    assert (losses.count, losses.mean, losses.mean_since_log()) == (2, 3.0, 3.0)
    losses.add(1.0)
    losses.add(0.0)
    assert (losses.count, losses.mean, losses.mean_since_log()) == (4, 1.75, 0.5)


def test_only_the_newest_losses_are_kept():
    losses = counted(*range(1_000))
    assert list(losses.recent) == list(range(1_000 - RECENT_STEPS, 1_000))
    assert losses.mean == 499.5


@pytest.mark.parametrize("steps", [0, 1, 7, 1_000])
@pytest.mark.parametrize("logged", [False, True])
def test_saving_and_loading_changes_no_bit(steps, logged):
    whole = counted(*(0.1 * k for k in range(steps)))
    if logged and steps:
        whole.mean_since_log()
    text = json.dumps(whole.to_dict())
    assert len(text) < 700  # however many steps
    resumed = LossHistory.from_dict(json.loads(text))
    for losses in (whole, resumed):
        losses.add(1 / 3)
    assert resumed.to_dict() == whole.to_dict()
    assert resumed.mean == whole.mean and resumed.mean_since_log() == whole.mean_since_log()


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": -1},
        {"count": 3},
        {"count": 2.0},
        {"sum": float("nan")},
        {"unlogged": 3},
        {"unlogged_sum": "2"},
        {"recent": [1.0]},
        {"recent": [1.0, None]},
        {"recent": [1.0] * (RECENT_STEPS + 1), "count": RECENT_STEPS + 1},
    ],
)
def test_impossible_saved_values_are_refused(wrong):
    with pytest.raises(CharlstmError):
        LossHistory.from_dict({**counted(1.0, 2.0).to_dict(), **wrong})
