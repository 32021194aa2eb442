"""The speed of a run, and the number of steps that fit into the time left."""

import json

import pytest

from charlstm.training.time_budget import EXIT_SECONDS, TimeBudget


def budget_of(seconds_per_step, steps=50, evaluation=0.0, models_at_end=1):
    budget = TimeBudget(1000, models_at_end)
    for _ in range(steps):
        budget.count_step(seconds_per_step)
    budget.count_evaluation(evaluation)
    return budget


def test_the_first_two_steps_are_not_timed():
    budget = TimeBudget(1000)
    for seconds in (9.0, 9.0, 0.5, 0.25):
        budget.count_step(seconds)
    assert budget.seconds_per_step == 0.375
    assert budget.symbols_per_second == pytest.approx(1000 / 0.375)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [(1.0, 7), (0.25, 7), (0.1, 12), (0.001, 102)],
)
def test_speed_is_known_after_a_second_or_a_hundred_steps(seconds, steps):
    budget = TimeBudget(1)
    taken = 0
    while not budget.speed_is_known:
        budget.count_step(seconds)
        taken += 1
    assert taken == pytest.approx(steps, abs=1)


def test_the_speed_follows_that_of_the_machine():
    budget = budget_of(0.1)
    for _ in range(100):
        budget.count_step(0.3)
    assert budget.seconds_per_step == pytest.approx(0.3, rel=0.01)


def test_steps_and_their_evaluations_fill_the_time():
    budget = budget_of(0.1, evaluation=2.0)
    steps = budget.steps_within(100 + EXIT_SECONDS, 50)
    used = steps * 0.1 + (steps // 50 + 1) * 2.0
    assert 97 <= used <= 100
    # with four evaluations in all, while their distance is not yet known
    assert budget.steps_within(100 + EXIT_SECONDS, None) == pytest.approx(920, abs=1)


@pytest.mark.parametrize(
    ("seconds", "count"), [(1_000, 10), (250, 10), (100, 4), (26, 1), (3, 1), (-5, 1)]
)
def test_evaluations_take_a_twelfth_of_the_time_at_most(seconds, count):
    """Otherwise a short run on a large text would evaluate most of the time."""
    budget = budget_of(0.1, evaluation=2.0)
    assert budget.evaluations_within(seconds) == count
    steps = budget.steps_within(seconds + EXIT_SECONDS, None)
    assert steps == pytest.approx(max(0, 10 * (seconds - 2 * count)), abs=1)


def test_the_last_evaluation_may_measure_two_models():
    one, two = budget_of(0.1, evaluation=2.0), budget_of(0.1, evaluation=2.0, models_at_end=2)
    assert one.steps_within(100, 50) - two.steps_within(100, 50) == pytest.approx(
        2.0 / (0.1 + 2.0 / 50), abs=1
    )
    assert one.steps_within(300, None) - two.steps_within(300, None) == pytest.approx(20, abs=1)
    assert one.steps_within(126, None) == two.steps_within(126, None)  # but one evaluation fewer
    assert (one.evaluations_within(126), two.evaluations_within(126)) == (5, 4)
    assert two.evaluations_within(3) == 1


def test_without_time_left_there_is_no_step():
    budget = budget_of(0.1, evaluation=2.0)
    assert budget.steps_within(1.0, 50) == 0
    assert budget.steps_within(-7.0, None) == 0


def test_the_time_of_an_evaluation_is_estimated_until_one_is_measured():
    budget = budget_of(0.1)
    budget.estimate_evaluation(60_000)  # at 10,000 characters a second
    assert budget.seconds_per_evaluation == pytest.approx(2.1)
    budget.count_evaluation(1.5)
    budget.estimate_evaluation(60_000)
    assert budget.seconds_per_evaluation == 1.5


@pytest.mark.parametrize(("models", "characters"), [(1, 180_000), (2, 90_000)])
def test_the_last_evaluation_takes_a_tenth_of_the_time(models, characters):
    budget = budget_of(0.1, models_at_end=models)
    # trained on 10,000 characters a second, read at 30,000
    assert budget.affordable_symbols(60) == pytest.approx(characters, abs=1)


def test_the_time_steps_of_an_evaluation_in_few_streams_take_time():
    """1,000 characters are one stream: as many time steps as 15 training steps of 64 streams."""
    budget = TimeBudget(64 * 64, time_steps=64)
    budget.count_step(0.96)
    assert not budget.speed_is_known
    assert budget.has_time_for_step(0.96 + 5 + EXIT_SECONDS + 0.01, 1_000)
    assert not budget.has_time_for_step(0.96 + 5 + EXIT_SECONDS - 0.01, 1_000)
    assert budget.affordable_symbols(50) == 1_000
    budget.seconds_per_save = 2.0
    assert not budget.has_time_for_step(0.96 + 5 + EXIT_SECONDS + 3.99, 1_000)


def test_a_loaded_budget_continues_from_the_saved_times():
    budget = budget_of(0.1, steps=30, evaluation=1.0)
    other = TimeBudget(1000)
    other.load_dict(json.loads(json.dumps(budget.to_dict())))
    assert other.speed_is_known
    for each in (budget, other):
        each.count_step(0.2)
    assert other.seconds_per_step == budget.seconds_per_step
    assert other.steps_within(60, 10) == budget.steps_within(60, 10)
