"""When a run ends and when it is evaluated: early stopping and time budgets."""

import json
import subprocess
import time

import pytest
from command_line import COMMAND
from corpus_files import make_text
from run_files import (
    BEST,
    LAST,
    SMALL,
    arrays_of,
    assert_equal_runs,
    command_options,
    copy_of,
    events_of,
    measurements,
    train_with_copies,
)

import charlstm
from charlstm.config import RunConfig
from charlstm.runs.checkpoint import load_checkpoint
from charlstm.runs.resume import resume_run
from charlstm.runs.start import begin_run
from charlstm.training.trainer import Trainer

# -- early stopping --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stopped_early(overfitting_text, tmp_path_factory):
    """A run that stops early, and copies of its folder at each save of `last`."""
    root = tmp_path_factory.mktemp("stopped_early")
    return train_with_copies(overfitting_text, root, stop_after=2, lr=0.01)


def test_a_run_stops_early_after_evaluations_without_a_new_best(stopped_early, cli):
    folder, copies = stopped_early
    evaluations = events_of(folder, "eval")
    best = min(evaluations, key=lambda event: event["val_loss"])
    assert len(evaluations) < 6 and evaluations.index(best) == len(evaluations) - 3
    stop = events_of(folder)[-1]
    assert (stop["reason"], stop["best_step"]) == ("stopped early", best["step"])
    assert stop["step"] == evaluations[-1]["step"] == max(copies) == best["step"] + 20
    assert load_checkpoint(folder / BEST).summary["step"] == best["step"]
    result = cli("train", "-r", folder, "--resume", "--json")
    assert "has finished already" in result.stderr
    assert json.loads(result.stdout)["reason"] == "stopped early"


def test_a_resumed_run_stops_early_at_the_same_step(stopped_early, tmp_path):
    folder, copies = stopped_early
    for step in sorted(copies)[:-1]:
        copy = copy_of(copies[step], tmp_path / f"{step}")
        assert charlstm.train(run=copy, resume=True).reason == "stopped early"
        assert arrays_of(copy / LAST) == arrays_of(folder / LAST)
        assert measurements(copy) == measurements(folder)


def test_a_run_that_stopped_early_continues_to_a_new_end(stopped_early, tmp_path):
    folder = copy_of(stopped_early.folder, tmp_path / "run")
    stopped = events_of(folder)[-1]["step"]
    result = charlstm.train(run=folder, resume=True, steps=80)
    assert (result.steps, result.reason) == (stopped + 20, "stopped early")
    result = charlstm.train(run=folder, resume=True, steps=stopped + 25)
    assert (result.steps, result.reason) == (stopped + 25, "finished")


def test_where_a_run_would_stop_early_its_last_weights_are_evaluated_too(
    stopped_early, overfitting_text, tmp_path
):
    *before, last = (event["val_losses"] for event in events_of(stopped_early.folder, "eval"))
    assert all(list(losses) == ["average"] for losses in before[:-1])
    assert list(last) == ["average", "last"]
    # With an average that lags far behind, the last weights are better, and so the run goes on.
    options = {**SMALL, "average": 0.999, "stop_after": 1, "eval_every": 5, "steps": 40}
    charlstm.train(overfitting_text, tmp_path / "run", **options)
    for event in events_of(tmp_path / "run", "eval")[:-1]:
        losses = event["val_losses"]
        assert event["is_best"] or len(losses) == 2, event


def test_a_run_shorter_than_the_distance_of_evaluations_says_so(text_file, tmp_path):
    events = []
    settings = {**SMALL, "steps": 3, "eval_every": 1_000}
    charlstm.train(text_file, tmp_path / "run", observer=events.append, **settings)
    assert events[0]["notices"] == [
        "`eval_every=1000` is more than the 3 steps of the run: it is evaluated only once, at its "
        "end"
    ]
    assert [event["step"] for event in events if event["event"] == "eval"] == [3]


def test_early_stopping_is_reported_in_one_line(overfitting_text, tmp_path, cli):
    options = command_options(**SMALL | {"stop_after": 1, "eval_every": 10})
    result = cli("train", overfitting_text, "-r", tmp_path / "run", *options)
    stop = events_of(tmp_path / "run")[-1]
    assert (
        f"stopped early: no lower validation loss after step {stop['best_step']}\n" in result.stderr
    )
    assert (
        f"{stop['step']} steps, best validation loss {stop['best_val_loss']:.4f}" in result.stdout
    )


def test_without_validation_text_no_run_stops_early(text_file, tmp_path):
    settings = {**SMALL, "stop_after": 1, "eval_every": 5, "steps": 15}
    run = charlstm.train(text_file, tmp_path / "run", val_frac=0, **settings)
    assert (run.steps, run.reason) == (15, "finished")


# -- evaluations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "total", "due"),
    [
        ({"minutes": 5.0}, 24, False),  # the last one comes in four steps
        ({"minutes": 5.0}, 25, True),
        ({"minutes": 5.0}, None, True),
        ({"minutes": 5.0, "eval_every": 10}, 21, True),
        ({"steps": 21, "eval_every": 10}, 21, True),
    ],
)
def test_no_evaluation_is_due_shortly_before_the_end_of_the_time(
    text_file, tmp_path, given_speed, options, total, due
):
    settings = {"paths": (str(text_file),), "hidden": 2, "workers": 1, **options}
    run = begin_run(tmp_path / "run", RunConfig.asked(settings), None, 0.0, None)
    run.plan.eval_every, run.trainer.steps_done, run.trainer.total_steps = 10, 20, total
    assert run.plan.evaluation_is_due is due
    run.trainer.steps_done = 19
    assert run.plan.evaluation_is_due is False


def test_evaluations_do_not_depend_on_the_speed_of_the_machine(
    uninterrupted, overfitting_text, tmp_path
):
    """They decide what `best` is, and when the rate of a plateau falls."""
    folder = tmp_path / "run"

    def delay(event):
        if event["event"] == "step" and event["step"] < 10:
            time.sleep(0.05)

    charlstm.train(overfitting_text, folder, observer=delay, **SMALL)
    assert_equal_runs(folder, uninterrupted.folder)


def test_the_plan_is_reported_once_the_speed_is_known(text_file, tmp_path):
    events = []
    charlstm.train(
        text_file, tmp_path / "run", observer=events.append,
        hidden=4, batch_size=4, seq_length=8, steps=150, val_frac=0,
    )  # fmt: skip
    (plan,) = [event for event in events if event["event"] == "plan"]
    assert plan["total_steps"] == 150 and 0 < plan["seconds"] < 60


# -- time budgets ----------------------------------------------------------------------------------


def assert_planned(folder):
    """The metrics of a run with a time budget tell its plan, and the run has kept it."""
    events = events_of(folder)
    assert (events[-1]["event"], events[-1]["reason"]) == ("stop", "finished")
    trained = [event for event in events if event["event"] == "train"]
    plans = [event["total_steps"] for event in trained if event["total_steps"] is not None]
    assert plans and plans[-1] == events[-1]["step"]
    assert load_checkpoint(folder / LAST).training["trainer"]["total_steps"] == plans[-1]
    rates = [event["learning_rate"] for event in trained]
    assert rates[-1] < 0.1 * max(rates)  # the schedule came to its end
    assert charlstm.train(run=folder, resume=True).steps == events[-1]["step"]


def test_a_time_budget_is_kept_and_the_plan_saved(text_file, tmp_path, given_speed):
    began, folder = time.monotonic(), tmp_path / "run"
    settings = {"hidden": 4, "batch_size": 4, "seq_length": 8, "minutes": 2 / 60, "warmup": 9}
    charlstm.train(text_file, folder, workers=1, **settings)
    assert 2 - 1 < time.monotonic() - began < 2 * 1.05 + 5
    assert_planned(folder)


@pytest.mark.slow
def test_minutes_count_from_command_to_exit_and_may_be_given_anew(text_file, tmp_path):
    folder, began = tmp_path / "run", time.monotonic()
    options = ("--minutes", "0.1", "--warmup", "9", "--quiet")
    subprocess.run([*COMMAND, "train", text_file, "-r", folder, *options], check=True)
    assert 6 - 2 < time.monotonic() - began < 6 * 1.05 + 5
    assert_planned(folder)
    events = []
    charlstm.train(run=folder, resume=True, minutes=0.15, observer=events.append)
    plan, *steps = [event for event in events if event["event"] in ("plan", "step")]
    assert (plan["event"], steps[0]["total_steps"]) == ("plan", plan["total_steps"])


@pytest.mark.parametrize(("budget", "least", "most"), [(2.0, 2, 4), (0.1, 1, 1)])
def test_the_clock_is_looked_at_after_every_step(
    text_file, tmp_path, given_speed, monkeypatch, budget, least, most
):
    """Also while too few steps have been timed for a plan; the first step is always made."""
    fast_step = Trainer.step

    def slow_step(trainer):
        time.sleep(0.4)
        return fast_step(trainer)

    monkeypatch.setattr(Trainer, "step", slow_step)
    began, events = time.monotonic(), []
    settings = {"hidden": 4, "seq_length": 64, "minutes": budget / 60, "workers": 1}
    run = charlstm.train(text_file, tmp_path / "run", observer=events.append, **settings)
    assert time.monotonic() - began < budget + 1.5
    assert run.reason == "finished" and least <= run.steps <= most
    notices = [event["text"] for event in events if event["event"] == "notice"]
    (notice,) = [text for text in notices if text.startswith("`minutes=")]
    steps = "1 step of" if run.steps == 1 else f"{run.steps} steps of"
    assert f"is enough for only {steps} 0.4" in notice and "give more `minutes`" in notice
    assert load_checkpoint(run.path / BEST).summary["step"] == run.steps
    assert charlstm.train(run=run.path, resume=True).steps == run.steps


@pytest.mark.parametrize(("steps", "is_told"), [(99, True), (100, False)])
def test_a_run_whose_time_is_up_after_few_steps_says_so(
    text_file, tmp_path, given_speed, steps, is_told
):
    """Also if its speed was known, and a plan was made."""
    events, began, folder = [], time.monotonic() - 60, tmp_path / "run"
    folder.mkdir()
    settings = {"paths": (str(text_file),), "hidden": 2, "workers": 1, "minutes": 0.5}
    run = begin_run(folder, RunConfig.asked(settings), None, began, None)
    run.events.observer = events.append
    for _ in range(200):
        run.plan.time_budget.count_step(0.25)
    run.trainer.steps_done = steps
    run.plan.fit_end_to_time_left()
    assert run.plan.at_end
    assert [event["text"] for event in events if event["event"] == "notice"] == [
        "`minutes=0.5` is enough for only 99 steps of 0.25 seconds, and the model has hardly "
        "learned: give more `minutes`, or a smaller `hidden`, `batch_size` or `seq_length`"
    ] * is_told


def assert_validation_is_shortened(folder, validation_characters, events):
    """A notice tells how much of the validation text is used; the checkpoint holds that too."""
    notices = [event["text"] for event in events if event["event"] == "notice"]
    (notice,) = [text for text in notices if not text.startswith("`minutes=")]
    characters = load_checkpoint(folder / LAST).training["validation"]["characters"]
    assert 1_000 <= characters < validation_characters / 2
    assert notice.startswith(
        f"validation losses are measured on only {characters:,} of the "
        f"{validation_characters:,} characters"
    )
    again = resume_run(folder, RunConfig.asked({}), time.monotonic(), None)
    assert len(again.validation.ids) == characters


def test_the_validation_text_is_shortened_to_a_small_part_of_the_time(tmp_path, given_speed):
    """With a given speed: 100 steps of 16 characters a second."""
    (tmp_path / "long.txt").write_text(make_text(2_000))
    events, folder = [], tmp_path / "run"
    folder.mkdir()
    settings = {"paths": (str(tmp_path / "long.txt"),), "val_frac": 0.5, "minutes": 0.5}
    settings |= {"hidden": 4, "layers": 1, "batch_size": 2, "seq_length": 8, "workers": 1}
    run = begin_run(folder, RunConfig.asked(settings), None, time.monotonic(), None)
    run.events.observer = events.append
    for _ in range(200):
        run.plan.time_budget.count_step(0.01)
    run._begin()
    run.plan.fit_end_to_time_left()
    run._save_last()
    validation_characters = run.corpus.length - run.train_length
    assert_validation_is_shortened(folder, validation_characters, events)
    # the last evaluation reads the text with two models, three times as fast as training does
    assert 2 * len(run.validation.ids) / (3 * 16 / 0.01) <= 0.1 * 30


@pytest.mark.slow
def test_validation_takes_a_small_part_of_the_time_also_with_a_slow_model(tmp_path):
    (tmp_path / "long.txt").write_text(make_text(20_000))
    began, events = time.monotonic(), []
    settings = {"hidden": 384, "layers": 2, "val_frac": 0.5, "minutes": 0.1, "seed": 1}
    run = charlstm.train(
        tmp_path / "long.txt", tmp_path / "run", observer=events.append, **settings
    )
    assert run.reason == "finished" and time.monotonic() - began < 6 * 1.05 + 5
    assert_validation_is_shortened(run.path, events[0]["validation_characters"], events)
