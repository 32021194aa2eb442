"""Learning rates of all schedules, against calculations by hand."""

import json
import math

import pytest

from charlstm import TrainConfig
from charlstm.training.schedules import Schedule


def test_constant_ignores_steps_and_losses():
    schedule = Schedule(TrainConfig(lr=0.3))
    schedule.observe(1.0)
    schedule.observe(2.0)
    assert [schedule.rate(step, step, 10) for step in (0, 5, 100)] == [0.3] * 3


def test_cosine_rises_over_the_warm_up_and_falls_to_the_last_rate():
    schedule = Schedule(TrainConfig(lr=2.0, schedule="cosine", warmup=4, final_lr=0.1, steps=24))
    rates = [schedule.rate(step, 0, 24) for step in range(25)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == 2.0
    assert rates[14] == pytest.approx(2.0 * (0.1 + 0.9 / 2))
    assert rates[9] == pytest.approx(2.0 * (0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2))
    assert rates[24] == pytest.approx(0.2)
    assert schedule.rate(1000, 0, 24) == pytest.approx(0.2)
    assert schedule.rate(7, 0, None) == 2.0  # while the end is not known
    assert schedule.rate(1, 0, None) == 1.0


def test_cosine_without_warm_up_begins_at_the_peak():
    schedule = Schedule(TrainConfig(lr=1.0, schedule="cosine", final_lr=0.0, steps=10))
    assert schedule.rate(0, 0, 10) == 1.0
    assert schedule.rate(5, 0, 10) == pytest.approx(0.5)


def test_step_decays_after_every_third_epoch():
    schedule = Schedule(TrainConfig(lr=1.0, schedule="step", decay=0.5, decay_every=3))
    rates = [schedule.rate(0, epoch, None) for epoch in range(8)]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_plateau_decays_after_patience_evaluations_without_a_new_best():
    schedule = Schedule(TrainConfig(lr=1.0, schedule="plateau", decay=0.5, patience=2))
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 1.95, 1.9, 1.9):
        schedule.observe(loss)
        rates.append(schedule.rate(0, 0, None))
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


@pytest.mark.parametrize("after", range(6))
def test_a_loaded_schedule_continues_from_the_saved_state(after):
    losses = [3.0, 2.0, 2.1, 2.2, 2.3, 1.0, 1.5, 1.5, 1.5]
    config = TrainConfig(schedule="plateau", patience=2)
    schedule = Schedule(config)
    for loss in losses[:after]:
        schedule.observe(loss)
    other = Schedule(config)
    other.load_dict(json.loads(json.dumps(schedule.to_dict(), allow_nan=False)))
    for loss in losses[after:]:
        schedule.observe(loss)
        other.observe(loss)
        assert schedule.rate(0, 0, None) == other.rate(0, 0, None)
