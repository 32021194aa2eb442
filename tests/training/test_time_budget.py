"""How many steps fit into the time that is left."""

import json

import pytest

from charlstm.training.time_budget import EXIT_SECONDS, TimeBudget


def pace_of(seconds_per_step, steps=50, evaluation=0.0, models_at_end=1):
    pace = TimeBudget(1000, models_at_end)
    for _ in range(steps):
        pace.count_step(seconds_per_step)
    pace.count_evaluation(evaluation)
    return pace


def test_the_first_two_steps_do_not_count():
    pace = TimeBudget(1000)
    for seconds in (9.0, 9.0, 0.5, 0.25):
        pace.count_step(seconds)
    assert pace.seconds_per_step == 0.375
    assert pace.characters_per_second == pytest.approx(1000 / 0.375)


@pytest.mark.parametrize(
    ("seconds", "steps"),
    [(1.0, 7), (0.25, 7), (0.1, 12), (0.001, 102)],
)
def test_speed_is_known_after_a_second_or_a_hundred_steps(seconds, steps):
    pace = TimeBudget(1)
    taken = 0
    while not pace.speed_is_known:
        pace.count_step(seconds)
        taken += 1
    assert taken == pytest.approx(steps, abs=1)


def test_speed_follows_the_machine():
    pace = pace_of(0.1)
    for _ in range(100):
        pace.count_step(0.3)
    assert pace.seconds_per_step == pytest.approx(0.3, rel=0.01)


def test_steps_and_their_evaluations_fill_the_time():
    pace = pace_of(0.1, evaluation=2.0)
    steps = pace.steps_within(100 + EXIT_SECONDS, 50)
    used = steps * 0.1 + (steps // 50 + 1) * 2.0
    assert 97 <= used <= 100
    # with four evaluations in all, while their distance is not yet known
    assert pace.steps_within(100 + EXIT_SECONDS, None) == pytest.approx(920, abs=1)


@pytest.mark.parametrize(
    ("seconds", "count"), [(1_000, 10), (250, 10), (100, 4), (26, 1), (3, 1), (-5, 1)]
)
def test_evaluations_take_a_twelfth_of_the_time_at_most(seconds, count):
    """Else a short run on a large text would only be evaluated, and hardly trained."""
    pace = pace_of(0.1, evaluation=2.0)
    assert pace.evaluations_within(seconds) == count
    steps = pace.steps_within(seconds + EXIT_SECONDS, None)
    assert steps == pytest.approx(max(0, 10 * (seconds - 2 * count)), abs=1)


def test_the_last_evaluation_may_measure_two_models():
    one, two = pace_of(0.1, evaluation=2.0), pace_of(0.1, evaluation=2.0, models_at_end=2)
    assert one.steps_within(100, 50) - two.steps_within(100, 50) == pytest.approx(
        2.0 / (0.1 + 2.0 / 50), abs=1
    )
    assert one.steps_within(300, None) - two.steps_within(300, None) == pytest.approx(20, abs=1)
    assert one.steps_within(126, None) == two.steps_within(126, None)  # but one evaluation fewer
    assert (one.evaluations_within(126), two.evaluations_within(126)) == (5, 4)
    assert two.evaluations_within(3) == 1


def test_no_time_left_is_no_step():
    pace = pace_of(0.1, evaluation=2.0)
    assert pace.steps_within(1.0, 50) == 0
    assert pace.steps_within(-7.0, None) == 0


def test_first_evaluation_is_guessed_until_it_is_measured():
    pace = pace_of(0.1)
    pace.estimate_evaluation(60_000)  # at 10,000 characters a second
    assert pace.seconds_per_evaluation == pytest.approx(2.1)
    pace.count_evaluation(1.5)
    pace.estimate_evaluation(60_000)
    assert pace.seconds_per_evaluation == 1.5


@pytest.mark.parametrize(("models", "characters"), [(1, 180_000), (2, 90_000)])
def test_a_tenth_of_the_time_is_left_to_the_last_evaluation(models, characters):
    pace = pace_of(0.1, models_at_end=models)
    # trained on 10,000 characters a second, read at 30,000
    assert pace.affordable_characters(60) == pytest.approx(characters, abs=1)


def test_goes_on_from_what_was_saved():
    pace = pace_of(0.1, steps=30, evaluation=1.0)
    other = TimeBudget(1000)
    other.load_dict(json.loads(json.dumps(pace.to_dict())))
    assert other.speed_is_known
    for p in (pace, other):
        p.count_step(0.2)
    assert other.seconds_per_step == pace.seconds_per_step
    assert other.steps_within(60, 10) == pace.steps_within(60, 10)
